"""Reads result rows back from Kafka, without a consumer group, so that it takes nothing from anyone."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import msgspec
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from streamapp.errors import BrokerError
from streamapp.kafka import client_options
from streamapp.records import ResultRow, read_row
from streamapp.settings import Settings
from streamapp.topics import ensure_topics

REQUEST_TIMEOUT_MS = 10_000
POLL_MS = 500
# Longest time without a record while there are more to read.
STALLED_AFTER_S = 30.0


@dataclass(frozen=True, slots=True)
class PublishedRow:
    """A row and the bytes that are on the topic, which may have keys that this version does not know."""

    row: ResultRow
    value: bytes


class ResultsReader:
    """The rows of the results topic, over all of its partitions."""

    def __init__(self, consumer: AIOKafkaConsumer, partitions: list[TopicPartition], brokers: str) -> None:
        self._consumer = consumer
        self._partitions = partitions
        self._brokers = brokers

    async def latest(self, count: int | None) -> list[PublishedRow]:
        """The newest `count` rows that are there now (None: all), oldest first.

        The consumer is left behind the last of them, where `follow` goes on.

        Raises:
            BrokerError: the broker stopped answering.
        """
        with _translated(self._brokers):
            begin = await self._consumer.beginning_offsets(self._partitions)
            end = await self._consumer.end_offsets(self._partitions)
        for partition in self._partitions:
            first = begin[partition]
            self._consumer.seek(partition, first if count is None else max(first, end[partition] - count))
        rows = await self._read_to(end)
        # The times are of one format and in UTC, so their texts are in their order.
        rows.sort(key=lambda published: published.row.MESSAGE_RECEIVE_TIME)
        return rows if count is None else rows[max(0, len(rows) - count) :]

    async def follow(self) -> AsyncIterator[PublishedRow]:
        """Every row from here on, without an end.

        Raises:
            BrokerError: the broker refuses to be read from; one that is away is waited for.
        """
        while True:
            for published in _rows(await self._poll()):
                yield published

    async def _read_to(self, end: dict[TopicPartition, int]) -> list[PublishedRow]:
        clock = asyncio.get_running_loop().time
        rows: list[PublishedRow] = []
        progress_at = clock()
        while any([await self._consumer.position(p) < end[p] for p in self._partitions]):
            records = await self._poll()
            rows += _rows(records)
            if records:
                progress_at = clock()
            elif clock() - progress_at > STALLED_AFTER_S:
                raise BrokerError(f"The broker at {self._brokers} sent nothing for {STALLED_AFTER_S:.0f} s.")
        return rows

    async def _poll(self) -> list[ConsumerRecord]:
        with _translated(self._brokers):
            batches = await self._consumer.getmany(timeout_ms=POLL_MS)
        return [record for records in batches.values() for record in records]


def _rows(records: Iterable[ConsumerRecord]) -> Iterator[PublishedRow]:
    """The records that are rows; others can be on the topic only if someone else writes to it."""
    for record in records:
        value = record.value or b""
        try:
            yield PublishedRow(read_row(value), value)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue


@asynccontextmanager
async def open_results(settings: Settings) -> AsyncIterator[ResultsReader]:
    """Connect to the results topic.

    Raises:
        BrokerError: the broker can't be reached, or has no such topic.
    """
    states = await ensure_topics(settings, create=False)
    count = next(state.partitions for state in states if state.name == settings.results_topic)
    if not count:
        raise BrokerError(
            f"The broker at {settings.brokers} has no topic {settings.results_topic}: "
            "`streamapp topics` creates what is missing."
        )
    partitions = [TopicPartition(settings.results_topic, number) for number in range(count)]
    consumer = AIOKafkaConsumer(
        enable_auto_commit=False, request_timeout_ms=REQUEST_TIMEOUT_MS, **client_options(settings)
    )
    try:
        with _translated(settings.brokers):
            await consumer.start()
        consumer.assign(partitions)
        yield ResultsReader(consumer, partitions, settings.brokers)
    finally:
        await consumer.stop()


@contextmanager
def _translated(brokers: str) -> Iterator[None]:
    """Kafka's errors as ours; never around the caller's code, whose OSErrors are its own."""
    try:
        yield
    except (KafkaError, OSError) as exc:
        raise BrokerError(f"The broker at {brokers} does not answer: {exc!r}.") from exc
