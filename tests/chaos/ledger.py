"""The judge: reads topics and committed offsets, and nothing of what the workers say of themselves."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import CoordinatorLoadInProgressError, KafkaError

from streamapp.kafka import client_options
from streamapp.records import read_row
from streamapp.settings import Settings
from streamapp.topics import topic_roles

SAMPLE_EVERY_S = 0.25
SAMPLE_TIMEOUT_S = 10.0
REQUEST_TIMEOUT_MS = 5_000
# The embedded broker reports end offsets a little low: what it owes comes within this time.
LOW_ENDS_S = 2.0


@dataclass(slots=True)
class Fate:
    """One event with what became of it.

    Attributes:
        sent_ms: Kafka timestamp of the event; None while only an outcome of it was read.
        first_ms: Kafka timestamp of its first outcome.
        outcomes: how many it has; those after the first are duplicates.
        status, reason, colour, policy: of its last row; of a dead letter the reason alone.
    """

    sent_ms: int | None = None
    first_ms: int | None = None
    outcomes: int = 0
    is_row: bool = False
    status: int | None = None
    reason: str | None = None
    colour: str | None = None
    policy: str | None = None


@dataclass(slots=True)
class Lane:
    """One partition of the events topic.

    Attributes:
        committed: the highest offset that the group has committed.
        checked: every event below it is known to have an outcome, or was told to have none.
    """

    fates: dict[int, Fate] = field(default_factory=dict)
    committed: int = 0
    checked: int = 0
    end: int = 0

    def fate(self, offset: int) -> Fate:
        return self.fates.setdefault(offset, Fate())


class Ledger:
    """Every event with its outcomes, and whether the commits ever ran ahead of these. A context manager.

    Attributes:
        violations: where a committed offset passed an event without an outcome, or went back.
        samples: how often the committed offsets were compared with the outcomes.
        with_outcome: events that have one.
    """

    def __init__(self, settings: Settings, *, has_low_ends: bool = False) -> None:
        """Take what is needed.

        Args:
            has_low_ends: the broker reports end offsets a little low.
        """
        self._settings = settings
        self._low_ends_s = LOW_ENDS_S if has_low_ends else 0.0
        self._events = [
            TopicPartition(settings.events_topic, number) for number in range(settings.topic_partitions)
        ]
        self._places = [
            TopicPartition(name, number)
            for name in topic_roles(settings)
            for number in range(settings.topic_partitions)
        ]
        self.lanes = {place.partition: Lane() for place in self._events}
        self.violations: list[str] = []
        self.samples = 0
        self.with_outcome = 0
        self._stack = AsyncExitStack()
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> Self:
        options = client_options(self._settings)
        async with AsyncExitStack() as stack:
            self._admin = AIOKafkaAdminClient(request_timeout_ms=REQUEST_TIMEOUT_MS, **options)
            stack.push_async_callback(self._admin.close)
            await self._admin.start()
            await self._open_reader()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._reader.stop()
        await self._stack.aclose()

    async def reopen(self) -> None:
        """Read on after the results topic was deleted and made anew: from its start."""
        async with self._turn:
            positions = {place: await self._reader.position(place) for place in self._places}
            await self._reader.stop()
            await self._open_reader()
            for place, offset in positions.items():
                is_new = place.topic == self._settings.results_topic
                self._reader.seek(place, 0 if is_new else offset)

    async def _open_reader(self) -> None:
        self._reader = AIOKafkaConsumer(
            enable_auto_commit=False,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
            auto_offset_reset="none",
            **client_options(self._settings),
        )
        await self._reader.start()
        self._reader.assign(self._places)
        for place in self._places:
            self._reader.seek(place, 0)

    @property
    def fates(self) -> list[Fate]:
        """Of every event, in the order of the partitions."""
        return [fate for lane in self.lanes.values() for fate in lane.fates.values()]

    def overtaken(self, partitions: set[int]) -> int:
        """Events of these partitions that the last commits passed and that have no outcome yet."""
        lanes = [self.lanes[partition] for partition in partitions]
        return sum(
            offset < lane.committed and not fate.outcomes
            for lane in lanes
            for offset, fate in lane.fates.items()
        )

    async def watch(self) -> None:
        """Sample until cancelled; a broker that is away is asked again."""
        while True:
            await self.sample()
            await asyncio.sleep(SAMPLE_EVERY_S)

    async def sample(self) -> bool:
        """Compare the committed offsets with the outcomes that are on the topics.

        1. Ask for the committed offsets. 2. Ask how far the topics go: an outcome that the commits rest on
        lies below. 3. Read as far. 4. Every event below its partition's committed offset must have an
        outcome now.

        Returns:
            False where the broker did not answer.
        """
        async with self._turn:
            try:
                async with asyncio.timeout(SAMPLE_TIMEOUT_S):
                    # 1.
                    committed = await self._committed()
                    # 2.
                    ends = await self._reader.end_offsets(self._places)
                    # 3.
                    await self._read_to(ends)
                    await self._read_for(self._low_ends_s)
            except (KafkaError, OSError, TimeoutError):
                return False
            # 4.
            for place in self._events:
                self.lanes[place.partition].end = ends[place]
                self._check(place, committed[place])
            self.samples += 1
            return True

    async def settle(self, timeout_s: float) -> bool:
        """Sample until the group has committed all that was sent: what has no outcome then is lost.

        Returns:
            False where that did not happen in time.
        """
        clock = asyncio.get_running_loop().time
        give_up_at = clock() + timeout_s
        while clock() < give_up_at:
            if await self.sample() and all(lane.committed >= lane.end for lane in self.lanes.values()):
                return True
            await asyncio.sleep(SAMPLE_EVERY_S)
        return False

    async def _committed(self) -> dict[TopicPartition, int]:
        """Of each partition; 0 where nothing is committed yet.

        Raises:
            KafkaError: the coordinator is not there, or not ready.
        """
        try:
            found = await self._admin.list_consumer_group_offsets(
                self._settings.group, partitions=self._events
            )
        except AttributeError as exc:
            # aiokafka 0.14 stumbles over the error that it is about to raise.
            raise CoordinatorLoadInProgressError from exc
        if len(found) < len(self._events):
            raise CoordinatorLoadInProgressError
        return {place: max(0, offset.offset) for place, offset in found.items()}

    def _check(self, place: TopicPartition, committed: int) -> None:
        lane = self.lanes[place.partition]
        if committed < lane.committed:
            self.violations.append(f"{place.partition}: the commit went from {lane.committed} to {committed}")
        for offset in range(lane.checked, committed):
            if not lane.fate(offset).outcomes:
                self.violations.append(f"{place.partition}@{offset} has no outcome, committed is {committed}")
        lane.checked = max(lane.checked, committed)
        lane.committed = max(lane.committed, committed)

    async def _read_to(self, ends: dict[TopicPartition, int]) -> None:
        for place, end in ends.items():
            while await self._reader.position(place) < end:
                await self._read_for(0.2)

    async def _read_for(self, timeout_s: float) -> None:
        if not timeout_s:
            return
        for records in (await self._reader.getmany(timeout_ms=int(timeout_s * 1000))).values():
            for record in records:
                self._note(record)

    def _note(self, record: ConsumerRecord) -> None:
        if record.topic == self._settings.events_topic:
            self.lanes[record.partition].fate(record.offset).sent_ms = record.timestamp
        elif record.topic == self._settings.results_topic:
            row = read_row(record.value)
            provenance = row.MODEL_ATTRIBUTES.PROVENANCE
            source = provenance["source"]
            fate = self.lanes[source["partition"]].fate(source["offset"])
            fate.is_row, fate.status = True, row.MODEL_ATTRIBUTES.NN_STATUS
            fate.colour = row.USERNAME
            fate.reason, fate.policy = provenance["reason"], provenance["policy"]["version"]
            self._count(fate, record)
        else:
            headers = dict(record.headers)
            partition, offset = (int(headers[f"streamapp.source.{part}"]) for part in ("partition", "offset"))
            fate = self.lanes[partition].fate(offset)
            fate.is_row, fate.reason = False, headers["streamapp.reason"].decode()
            self._count(fate, record)

    def _count(self, fate: Fate, record: ConsumerRecord) -> None:
        fate.outcomes += 1
        if fate.outcomes == 1:
            fate.first_ms = record.timestamp
            self.with_outcome += 1


@dataclass(frozen=True, slots=True)
class Figures:
    """What the topics say at a moment.

    Attributes:
        longest_wait_s: from an event to its first outcome.
    """

    events: int
    rows: int
    dead_letters: int
    duplicates: int
    lost: int
    longest_wait_s: float
    reasons: Counter[str]


def figures(fates: list[Fate]) -> Figures:
    """Count; an event without an outcome is a lost one, so ask when all is committed."""
    waits = [fate.first_ms - fate.sent_ms for fate in fates if fate.sent_ms and fate.first_ms]
    done = [fate for fate in fates if fate.outcomes]
    return Figures(
        events=len(fates),
        rows=sum(fate.is_row for fate in done),
        dead_letters=sum(not fate.is_row for fate in done),
        duplicates=sum(fate.outcomes - 1 for fate in done),
        lost=len(fates) - len(done),
        longest_wait_s=round(max(waits, default=0) / 1000, 2),
        reasons=Counter(fate.reason for fate in done if fate.reason),
    )
