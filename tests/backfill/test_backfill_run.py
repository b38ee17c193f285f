"""A run's order of things, with stand-ins for Kafka and the models: what may be committed, and when."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from kafka_records import row_of

from streamapp.backfill.plan import Plan, new_plan
from streamapp.backfill.run import Backfill
from streamapp.errors import BrokerError, FetchError
from streamapp.local.events import make_event
from streamapp.obtain import Obtained
from streamapp.offsets import PartitionOffsets
from streamapp.pace import Pace
from streamapp.reading import OffsetRange
from streamapp.reasons import Reason
from streamapp.records import Event, ResultRow, SourcePosition
from streamapp.settings import Settings

TIMEOUT_S = 10
OTHERS = {"events_in_flight": 8, "pictures_in_flight": 3}


@dataclass(frozen=True)
class Record:
    """An event as the consumer gives it; its user is its offset."""

    offset: int
    partition: int = 0
    value: bytes | None = None
    topic: str = "modify_user"
    key: bytes = b"7"
    headers: tuple[tuple[str, bytes], ...] = ()


def event(offset: int, partition: int = 0, url: str = "https://x/a.png") -> Record:
    return Record(offset, partition, make_event(str(offset), url))


class CommitRecordingSource:
    """Has its records in memory, and notes every commit; takes one when its gate is open."""

    def __init__(self, *records: Record) -> None:
        self._records = records
        self.commits: list[dict[int, int]] = []
        self.has_given_all = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def records(self, left: dict[int, OffsetRange]) -> AsyncIterator[list[Record]]:
        yield [record for record in self._records if record.offset >= left[record.partition].first]
        self.has_given_all.set()

    async def commit(self, offsets: dict[int, int], plan: Plan) -> None:
        self.commits.append(offsets)
        await self.gate.wait()

    @property
    def committed(self) -> dict[int, int]:
        """Partition → the last offset that was committed."""
        return {number: at for commit in self.commits for number, at in commit.items()}


class GatedEngine:
    """Judges an event once its gate is open; is its own source of pictures."""

    def __init__(self, *closed: int) -> None:
        self.gates = {str(offset): asyncio.Event() for offset in closed}
        self.source = self
        self.most_pictures = self.pictures = 0

    async def obtain(self, url: str, admit: Callable[[], Awaitable[None]]) -> Obtained:
        if "missing" not in url:
            await admit()
            self.pictures += 1
            self.most_pictures = max(self.most_pictures, self.pictures)
            await asyncio.sleep(0)
        return Obtained(None, FetchError(Reason.NOT_FOUND, "404"))

    async def judge(self, event: Event, obtained: Obtained, **_: Any) -> ResultRow:
        if event.user_id in self.gates:
            await self.gates[event.user_id].wait()
        await asyncio.sleep(0)
        if "missing" not in event.image_url:
            self.pictures -= 1
        return row_of(event.user_id, status=403 if "missing" in event.image_url else 0)


@dataclass
class RecordingPublisher:
    """Notes the users of the rows that it is given; refuses the row of one user, or finds it too large."""

    refused: str | None = None
    too_large: str | None = None
    users: list[str] = field(default_factory=list)
    dead_letters: list[tuple[SourcePosition, str]] = field(default_factory=list)

    async def publish_row(self, row: ResultRow) -> bool:
        await asyncio.sleep(0)
        user = row.UID
        if user == self.refused:
            # As the publisher itself does (tests/agents/test_publish_errors.py).
            raise BrokerError("The broker refuses a record for the topic results.")
        if user == self.too_large:
            return False
        self.users.append(user)
        return True

    async def publish_dead_letter(
        self, position: SourcePosition, key: Any, value: Any, headers: Any, reason: Any, message: str
    ) -> None:
        self.dead_letters.append((position, reason.value))


class CountingPace(Pace):
    """Makes nobody wait, and counts who asks."""

    def __init__(self) -> None:
        super().__init__(None)
        self.turns = 0

    async def turn(self) -> None:
        self.turns += 1


class EvenOffsets:
    """Chooses the events of even offsets."""

    def has(self, partition: int, offset: int) -> bool:
        return offset % 2 == 0


class Room:
    """A run with everything around it."""

    def __init__(
        self,
        *records: Record,
        engine: GatedEngine | None = None,
        publisher: RecordingPublisher | None = None,
        selection: Any = None,
        end: int = 10,
        **settings: Any,
    ) -> None:
        self.source = CommitRecordingSource(*records)
        self.engine = engine or GatedEngine()
        self.publisher = publisher or RecordingPublisher()
        self.pace = CountingPace()
        partitions = sorted({record.partition for record in records})
        asked = tuple(PartitionOffsets(number, 0, None) for number in partitions)
        plan = new_plan("a-run", "results", (), asked, {number: OffsetRange(0, end) for number in partitions})
        self.counted = 0
        self._changed = asyncio.Event()
        stand_ins: list[Any] = [self.source, self.engine, self.publisher]
        self.backfill = Backfill(
            Settings(**(OTHERS | settings)),
            plan,
            *stand_ins,
            pace=self.pace,
            selection=selection,
            on_event=self._count,
        )

    def _count(self) -> None:
        self.counted += 1
        self._changed.set()

    async def until_done(self, count: int) -> None:
        while self.counted < count:
            self._changed.clear()
            await self._changed.wait()

    async def run(self) -> None:
        async with asyncio.timeout(TIMEOUT_S):
            await self.backfill.run()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with asyncio.timeout(TIMEOUT_S):
            task = asyncio.create_task(self.backfill.run())
            yield
            await task


async def test_a_run_that_ends_has_committed_the_end_of_every_range_also_where_it_is_a_gap() -> None:
    room = Room(*(event(at, at % 2) for at in range(8)), end=10)
    await room.run()

    assert room.backfill.is_complete
    assert sorted(room.publisher.users) == [str(at) for at in range(8)]
    assert room.source.committed == {0: 10, 1: 10}
    assert room.backfill.outcomes == {"rows": 8}


async def test_the_commit_never_passes_an_event_without_outcome() -> None:
    room = Room(*(event(at) for at in range(6)), event(0, 1), event(1, 1), engine=GatedEngine(2))
    room.engine.gates["0"] = room.engine.gates["1"] = asyncio.Event()
    room.engine.gates["0"].set()
    async with room.running():
        await room.until_done(7)
        room.backfill.stop()
        room.backfill.stop()

    assert not room.backfill.is_complete
    assert room.source.committed == {0: 2, 1: 2}


async def test_every_commit_has_all_partitions_for_kafka_forgets_the_offset_of_each_by_its_own_age() -> None:
    room = Room(*(event(at) for at in range(4)), event(7, 1), engine=GatedEngine(7))
    async with room.running():
        await room.until_done(4)
        room.backfill.stop()
        room.backfill.stop()
    assert room.source.commits == [{0: 4, 1: 0}]


async def test_a_stop_while_the_last_offsets_are_committed_lets_them_be_committed() -> None:
    room = Room(event(0), end=1)
    room.source.gate.clear()
    async with room.running():
        while not room.source.commits:
            await asyncio.sleep(0)
        room.backfill.stop()
        room.backfill.stop()
        room.source.gate.set()

    assert room.backfill.is_complete


async def test_what_is_in_flight_is_finished_after_a_stop() -> None:
    room = Room(*(event(at) for at in range(20)), engine=GatedEngine(3), end=20)
    async with room.running():
        await room.until_done(3)
        room.backfill.stop()
        begun = room.counted + room.backfill.in_flight
        await room.until_done(begun - 1)
        room.engine.gates["3"].set()

    assert not room.backfill.is_complete
    assert begun < 20
    assert room.source.committed == {0: begun}
    assert sorted(map(int, room.publisher.users)) == list(range(begun))


async def test_a_stop_before_the_first_event_begins_none() -> None:
    room = Room(event(0), end=1)
    room.backfill.stop()
    await room.run()

    assert (room.backfill.is_complete, room.publisher.users, room.source.commits) == (False, [], [])


async def test_a_row_that_the_broker_does_not_take_ends_the_run_and_is_not_passed() -> None:
    room = Room(*(event(at) for at in range(10)), publisher=RecordingPublisher(refused="4"))
    with pytest.raises(BrokerError, match="refuses a record for the topic results"):
        await room.run()

    assert not room.backfill.is_complete
    assert room.source.committed.get(0, 0) <= 4


async def test_only_so_many_events_and_pictures_are_in_memory() -> None:
    closed = tuple(range(40))
    room = Room(*(event(at) for at in range(40)), engine=GatedEngine(*closed), end=40)
    async with room.running():
        while room.engine.pictures < 3:
            await asyncio.sleep(0)
        for _ in range(100):
            await asyncio.sleep(0)
        assert room.backfill.in_flight == 8
        for gate in room.engine.gates.values():
            gate.set()

    assert room.engine.most_pictures == 3
    assert room.backfill.outcomes == {"rows": 40}


async def test_one_slow_event_holds_up_no_more_than_unacked_events() -> None:
    room = Room(
        *(event(at) for at in range(40)), engine=GatedEngine(0), end=40, unacked_events=20, events_in_flight=8
    )
    async with room.running():
        await room.until_done(19)
        for _ in range(100):
            await asyncio.sleep(0)
        assert room.counted == 19
        room.engine.gates["0"].set()

    assert room.backfill.is_complete


async def test_no_event_and_a_removed_picture_are_counted_and_leave_no_record() -> None:
    room = Room(Record(0, value=b"{"), Record(1, value=None), event(2, url=""), event(3), end=4)
    await room.run()

    assert room.publisher.users == ["3"]
    assert room.publisher.dead_letters == []
    assert room.backfill.outcomes == {"unreadable": 2, "pictures removed": 1, "rows": 1}
    assert room.source.committed == {0: 4}


async def test_a_row_that_is_too_large_is_a_dead_letter() -> None:
    room = Room(event(0), event(1), publisher=RecordingPublisher(too_large="1"), end=2)
    await room.run()

    assert room.publisher.dead_letters == [(SourcePosition("modify_user", 0, 1), "row_too_large")]
    assert room.backfill.outcomes == {"rows": 1, "dead letters": 1}


async def test_rows_without_a_verdict_are_counted_by_their_reason() -> None:
    room = Room(event(0, url="https://x/missing.png"), event(1), end=2)
    await room.run()

    assert room.backfill.reasons == {"not_found": 1}


async def test_every_chosen_event_waits_for_its_turn_and_the_others_for_nothing() -> None:
    room = Room(*(event(at) for at in range(9)), selection=EvenOffsets(), end=9)
    await room.run()

    assert sorted(room.publisher.users) == ["0", "2", "4", "6", "8"]
    assert room.backfill.outcomes == {"rows": 5, "not chosen": 4}
    assert room.pace.turns == 5
    assert room.source.committed == {0: 9}
