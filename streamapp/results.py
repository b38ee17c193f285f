"""Reads result rows back from Kafka."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import msgspec
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from streamapp.errors import BrokerError
from streamapp.reading import open_reader, read_errors
from streamapp.records import ResultRow, read_row
from streamapp.settings import Settings

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

    def __init__(self, consumer: AIOKafkaConsumer, settings: Settings) -> None:
        self._consumer = consumer
        self._partitions = sorted(consumer.assignment())
        self._settings = settings

    async def latest(self, count: int | None) -> list[PublishedRow]:
        """The newest `count` rows that are there now (None: all), oldest first.

        The consumer is left behind the last of them, where `follow` goes on.

        Raises:
            BrokerError: the broker stopped answering.
        """
        with read_errors(self._settings):
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
                raise BrokerError(
                    f"The broker at {self._settings.brokers} sent nothing for {STALLED_AFTER_S:.0f} s."
                )
        return rows

    async def _poll(self) -> list[ConsumerRecord]:
        with read_errors(self._settings):
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
    async with open_reader(settings, [settings.results_topic]) as consumer:
        yield ResultsReader(consumer, settings)
