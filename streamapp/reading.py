"""Reads topics without joining a consumer group, so that nothing is taken from anyone."""

import asyncio
import math
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from streamapp.errors import BrokerError
from streamapp.kafka import client_options
from streamapp.settings import Settings
from streamapp.topics import ensure_topics, require_topics

REQUEST_TIMEOUT_MS = 10_000
POLL_MS = 500
# A seek takes effect once the fetch that is under way has its answer: at the end of a topic, after so long.
FETCH_WAIT_MS = 100
# Longest time without a record while there are more to read.
STALLED_AFTER_S = 30.0
# Records of several producers stand in a partition side by side: their times are in order only up to this.
DISORDER = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class OffsetRange:
    """Offsets of one partition: `first` and those before `end`."""

    first: int
    end: int

    @property
    def is_empty(self) -> bool:
        return self.first >= self.end

    def within(self, other: "OffsetRange") -> "OffsetRange":
        """The offsets that both have."""
        return OffsetRange(max(self.first, other.first), min(self.end, other.end))

    def __str__(self) -> str:
        return "none" if self.is_empty else f"{self.first} to {self.end - 1}"


Ranges = dict[TopicPartition, OffsetRange]


@dataclass(frozen=True, slots=True)
class Period:
    """Moments from `since` and before `until`, both with a time zone; None: without that bound."""

    since: datetime | None = None
    until: datetime | None = None

    def covers(self, record: ConsumerRecord) -> bool:
        """Whether the record's time lies in it."""
        since_ms = -1 if self.since is None else _milliseconds(self.since)
        until_ms = math.inf if self.until is None else _milliseconds(self.until)
        return bool(since_ms <= record.timestamp < until_ms)


EVER = Period()


@asynccontextmanager
async def open_reader(settings: Settings, names: Collection[str]) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer that has every partition of the topics assigned; its caller seeks.

    Raises:
        BrokerError: the broker can't be reached, or has not all of the topics.
    """
    topics = [topic for topic in await ensure_topics(settings, create=False) if topic.name in names]
    require_topics(settings, topics)
    consumer = AIOKafkaConsumer(
        enable_auto_commit=False,
        # What retention deletes while it is read leads to the oldest record that is left, not to the end.
        auto_offset_reset="earliest",
        fetch_max_wait_ms=FETCH_WAIT_MS,
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        **client_options(settings),
    )
    try:
        with read_errors(settings):
            await consumer.start()
        # A consumer that is stopped before its tasks have begun raises CancelledError (aiokafka 0.14.0).
        await asyncio.sleep(0)
        consumer.assign(
            [TopicPartition(topic.name, number) for topic in topics for number in range(topic.partitions)]
        )
        yield consumer
    finally:
        await stop_consumer(consumer)


async def stop_consumer(consumer: AIOKafkaConsumer) -> None:
    """Close a consumer, whatever its fetches are at.

    It awaits those that it has cancelled, and one that waits for its next try raises that (0.14.0): an error
    about a broker that is away would be lost.
    """
    try:
        await consumer.stop()
    except asyncio.CancelledError:
        await consumer._client.close()
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise


async def ranges_in(
    consumer: AIOKafkaConsumer,
    partitions: Collection[TopicPartition],
    settings: Settings,
    period: Period = EVER,
) -> Ranges:
    """The offsets that the partitions hold now; of a period, so many that all of its records are among them.

    It moves the consumer; `read_ranges` puts it where it belongs.

    Raises:
        BrokerError: the broker stopped answering.
    """
    with read_errors(settings):
        first = await consumer.beginning_offsets(partitions)
        end = await _ends(consumer, first)
        if period.since is not None:
            since = await _offsets_at(consumer, period.since, absent=end, unknown=first)
            first = {place: max(first[place], since[place]) for place in first}
        if period.until is not None:
            until = await _offsets_at(consumer, period.until + DISORDER, absent=end, unknown=end)
            end = {place: min(end[place], until[place]) for place in end}
    return {place: OffsetRange(first[place], end[place]) for place in sorted(partitions)}


async def read_ranges(
    consumer: AIOKafkaConsumer, ranges: Mapping[TopicPartition, OffsetRange], settings: Settings
) -> AsyncIterator[list[ConsumerRecord]]:
    """The records of the ranges, a fetch at a time: about 1 MB of each partition is in memory.

    The consumer is left at the end of each range.

    Raises:
        BrokerError: the broker stopped answering.
    """
    clock = asyncio.get_running_loop().time
    left = {place: one for place, one in ranges.items() if not one.is_empty}
    for place, one in ranges.items():
        consumer.seek(place, one.first)
    progress_at = clock()
    while left:
        with read_errors(settings):
            fetched = await consumer.getmany(*left, timeout_ms=POLL_MS)
            async with asyncio.timeout(STALLED_AFTER_S):
                positions = {place: await consumer.position(place) for place in left}
        records = [r for place, batch in fetched.items() for r in batch if r.offset < left[place].end]
        for place in [place for place in left if positions[place] >= left[place].end]:
            consumer.seek(place, left.pop(place).end)
        if fetched:
            yield records
            progress_at = clock()
        elif left and clock() - progress_at > STALLED_AFTER_S:
            raise BrokerError(f"The broker at {settings.brokers} sent nothing for {STALLED_AFTER_S:.0f} s.")


async def read_one(
    consumer: AIOKafkaConsumer, place: TopicPartition, offset: int, settings: Settings
) -> ConsumerRecord | None:
    """The record at an offset; None where the partition has none there (any more).

    Raises:
        BrokerError: the broker stopped answering.
    """
    if place not in consumer.assignment():
        return None
    held = (await ranges_in(consumer, [place], settings))[place]
    wanted = OffsetRange(offset, offset + 1).within(held)
    async for records in read_ranges(consumer, {} if wanted.is_empty else {place: wanted}, settings):
        for record in records:
            return record
    return None


@contextmanager
def read_errors(settings: Settings) -> Iterator[None]:
    """Kafka's errors as ours; never around the caller's code, whose OSErrors are its own.

    Raises:
        BrokerError: in place of a KafkaError, an OSError, or aiokafka's at a header's name that is no UTF-8.
    """
    try:
        yield
    except (KafkaError, OSError) as exc:
        raise BrokerError(f"The broker at {settings.brokers} can't be read from: {exc!r}.") from exc
    except UnicodeDecodeError as exc:
        raise BrokerError(
            f"A record has a header whose name is no UTF-8 ({exc.object!r:.80}): Kafka's client can't read "
            "it, nor what is behind it in its partition. Read the offsets before and behind it."
        ) from exc


async def _ends(consumer: AIOKafkaConsumer, first: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
    """The end of each partition, of which `first` is the beginning.

    The embedded broker's answer leaves out all but one record of the last batch; the high watermark that
    comes with a fetch of that batch is right with any broker.
    """
    end: dict[TopicPartition, int] = await consumer.end_offsets(first)
    left = {place for place in end if first[place] < end[place]}
    for place in left:
        consumer.seek(place, end[place] - 1)
    while left:
        fetched = await consumer.getmany(*left, timeout_ms=POLL_MS)
        if not fetched:
            # Kafka's last offset can be a mark of a transaction, with which no record comes.
            break
        left -= fetched.keys()
    return {place: max(end[place], consumer.highwater(place) or 0) for place in end}


async def _offsets_at(
    consumer: AIOKafkaConsumer,
    moment: datetime,
    *,
    absent: dict[TopicPartition, int],
    unknown: dict[TopicPartition, int],
) -> dict[TopicPartition, int]:
    """The offset of each partition's first record at or after a moment.

    Args:
        absent: the answer where there is no such record.
        unknown: the answer where the broker names an earlier record, as the embedded one does for none.
    """
    asked = max(0, _milliseconds(moment))
    found = await consumer.offsets_for_times(dict.fromkeys(absent, asked))
    return {
        place: absent[place] if one is None else one.offset if one.timestamp >= asked else unknown[place]
        for place, one in found.items()
    }


def _milliseconds(moment: datetime) -> int:
    """Kafka's time of a moment, rounded up: a record of the same millisecond may be before it."""
    return math.ceil(moment.timestamp() * 1000)
