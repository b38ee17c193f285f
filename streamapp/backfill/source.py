"""The events topic as a backfill reads it: with a consumer group of its own, which nobody joins."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError
from aiokafka.structs import OffsetAndMetadata

from streamapp.backfill.plan import Plan
from streamapp.backfill.ranges import Asked, TimeSpan, ranges_of_offsets
from streamapp.errors import BrokerError
from streamapp.group_offsets import committed_offsets
from streamapp.kafka import client_options
from streamapp.reading import (
    EVER,
    REQUEST_TIMEOUT_MS,
    OffsetRange,
    Period,
    ranges_in,
    read_errors,
    read_ranges,
    stop_consumer,
)
from streamapp.settings import Settings
from streamapp.topics import ensure_topics, require_topics

logger = logging.getLogger(__name__)

# Not as long as aiokafka's request timeout: of two that end together one leaves an error that nobody awaits.
COMMIT_TIMEOUT_S = 15.0


class Source:
    """The partitions of the events topic, by their numbers.

    The group only keeps the committed offsets. A member would be given other partitions by a rebalance;
    a client that is none commits what it has done, and the group of the workers is another one.

    Attributes:
        group: the consumer group.
    """

    def __init__(self, consumer: AIOKafkaConsumer, settings: Settings, group: str) -> None:
        self._consumer = consumer
        self._settings = settings
        self.group = group
        self._places = {place.partition: place for place in consumer.assignment()}

    @property
    def topic(self) -> str:
        return self._settings.events_topic

    async def held(self) -> dict[int, OffsetRange]:
        """Partition → the offsets that the topic holds now.

        Raises:
            BrokerError: the broker does not answer.
        """
        return await self._held(EVER)

    async def find(self, asked: Asked) -> dict[int, OffsetRange]:
        """Partition → its offsets that are asked for.

        Raises:
            BrokerError: the topic does not hold them, or the broker does not answer.
        """
        held = await self.held()
        if not isinstance(asked, TimeSpan):
            return ranges_of_offsets(self.topic, asked, held)
        since = await self._held(Period(since=asked.start))
        # What the topic holds since then begins where the span ends.
        after = held if asked.end is None else await self._held(Period(since=asked.end))
        ends = {number: there.end if asked.end is None else there.first for number, there in after.items()}
        ranges = {number: OffsetRange(there.first, ends[number]) for number, there in since.items()}
        if all(found.is_empty for found in ranges.values()):
            raise BrokerError(
                f"{self.topic} holds no events {asked}; times are those of its records in Kafka."
            )
        beginnings = [str(n) for n in held if 0 < held[n].first == ranges[n].first < ranges[n].end]
        if beginnings:
            logger.warning(
                "%s holds nothing older than this in partition %s: if there were events, retention has "
                "deleted them.",
                self.topic,
                ", ".join(beginnings),
            )
        return ranges

    async def _held(self, period: Period) -> dict[int, OffsetRange]:
        found = await ranges_in(self._consumer, self._places.values(), self._settings, period)
        return {place.partition: whole for place, whole in found.items()}

    async def committed(self) -> dict[int, tuple[int, str]]:
        """Partition → the group's committed offset and the note that goes along with it.

        Raises:
            BrokerError: the broker does not answer.
        """
        found = await committed_offsets(self._settings, self.group, self._places.values())
        return {place.partition: (at.offset, at.metadata) for place, at in found.items() if at.offset >= 0}

    async def commit(self, offsets: Mapping[int, int], plan: Plan) -> None:
        """Commit the partitions' offsets with the plan's notes.

        Raises:
            BrokerError: the broker did not take them in time.
        """
        values = {self._places[n]: OffsetAndMetadata(offset, plan.note(n)) for n, offset in offsets.items()}
        try:
            async with asyncio.timeout(COMMIT_TIMEOUT_S):
                await self._consumer.commit(values)
        except (KafkaError, OSError) as exc:
            raise BrokerError(
                f"The broker at {self._settings.brokers} does not commit the offsets of {self.group!r}: "
                f"{exc!r}."
            ) from exc

    async def keeps(self, plan: Plan) -> bool:
        """Whether the broker has kept the plan that was committed; the embedded one keeps offsets only.

        Raises:
            BrokerError: the broker does not answer.
        """
        found = await self.committed()
        return all(number in found and found[number][1] == plan.note(number) for number in plan.done)

    async def records(self, ranges: Mapping[int, OffsetRange]) -> AsyncGenerator[list[ConsumerRecord], None]:
        """The records of these ranges, each partition's in order, a fetch at a time.

        Raises:
            BrokerError: the broker stopped answering, or has deleted what was to be read next.
        """
        self._consumer.pause(*(place for number, place in self._places.items() if number not in ranges))
        places = {self._places[number]: whole for number, whole in ranges.items()}
        try:
            async for records in read_ranges(self._consumer, places, self._settings):
                yield records
        except BrokerError as exc:
            if not isinstance(exc.__cause__, OffsetOutOfRangeError):
                raise
            raise BrokerError(
                f"Retention has deleted events of {self.topic} before they were read. Going on with the run "
                "leaves them out."
            ) from exc


@asynccontextmanager
async def open_source(settings: Settings, group: str) -> AsyncIterator[Source]:
    """Connect to the events topic.

    Raises:
        BrokerError: the broker can't be reached, or has no such topic.
    """
    topics = await ensure_topics(settings, create=False)
    events = next(topic for topic in topics if topic.name == settings.events_topic)
    require_topics(settings, [events])
    consumer = AIOKafkaConsumer(
        group_id=group,
        enable_auto_commit=False,
        # Kafka's own resets would leave events out in silence.
        auto_offset_reset="none",
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        **client_options(settings),
    )
    try:
        with read_errors(settings):
            await consumer.start()
        # A consumer that is stopped before its tasks have begun raises CancelledError (aiokafka 0.14.0).
        await asyncio.sleep(0)
        consumer.assign([TopicPartition(events.name, number) for number in range(events.partitions)])
        yield Source(consumer, settings, group)
    finally:
        await stop_consumer(consumer)
