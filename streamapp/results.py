"""Reads result rows back from Kafka."""

import heapq
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime

import msgspec
from aiokafka import AIOKafkaConsumer, ConsumerRecord

from streamapp.reading import (
    EVER,
    POLL_MS,
    OffsetRange,
    Period,
    open_reader,
    ranges_in,
    read_errors,
    read_ranges,
)
from streamapp.records import ResultRow, read_row
from streamapp.settings import Settings

# Rows of several partitions that are put in order; with more than these in memory the oldest one goes out.
ORDERED_ROWS = 10_000


@dataclass(frozen=True, slots=True, order=True)
class PublishedRow:
    """A row and the bytes that are on the topic, which may have keys that this version does not know.

    Ordered by MESSAGE_RECEIVE_TIME: the times are of one format and in UTC, so their texts are in order.
    """

    received: str
    row: ResultRow = field(compare=False)
    value: bytes = field(compare=False)


class ResultsReader:
    """The rows of the results topic, over all of its partitions."""

    def __init__(self, consumer: AIOKafkaConsumer, settings: Settings) -> None:
        self._consumer = consumer
        self._partitions = sorted(consumer.assignment())
        self._settings = settings

    async def latest(self, count: int, since: datetime | None = None) -> list[PublishedRow]:
        """The newest `count` rows that are there now, oldest first; none that were published before `since`.

        The consumer is left behind the last of them, where `follow` goes on.

        Raises:
            BrokerError: the broker stopped answering.
        """
        period = Period(since)
        ranges = await ranges_in(self._consumer, self._partitions, self._settings, period)
        ranges = {
            place: OffsetRange(max(held.first, held.end - count), held.end) for place, held in ranges.items()
        }
        newest: list[PublishedRow] = []
        async for records in read_ranges(self._consumer, ranges, self._settings):
            for published in _rows(records, period):
                heapq.heappush(newest, published)
                if len(newest) > count:
                    heapq.heappop(newest)
        return sorted(newest)

    async def every(self, since: datetime | None = None) -> AsyncIterator[PublishedRow]:
        """Every row that is there now, or was published since then; oldest first as far as `ORDERED_ROWS` go.

        Like `latest`, it leaves the consumer where `follow` goes on.

        Raises:
            BrokerError: the broker stopped answering.
        """
        period = Period(since)
        ranges = await ranges_in(self._consumer, self._partitions, self._settings, period)
        waiting: list[PublishedRow] = []
        async for records in read_ranges(self._consumer, ranges, self._settings):
            for published in _rows(records, period):
                heapq.heappush(waiting, published)
                if len(waiting) > ORDERED_ROWS:
                    yield heapq.heappop(waiting)
        while waiting:
            yield heapq.heappop(waiting)

    async def follow(self) -> AsyncIterator[PublishedRow]:
        """Every row from here on, without an end.

        Raises:
            BrokerError: the broker refuses to be read from; one that is away is waited for.
        """
        while True:
            for published in _rows(await self._poll()):
                yield published

    async def _poll(self) -> list[ConsumerRecord]:
        with read_errors(self._settings):
            batches = await self._consumer.getmany(timeout_ms=POLL_MS)
        return [record for records in batches.values() for record in records]


def _rows(records: Iterable[ConsumerRecord], period: Period = EVER) -> Iterator[PublishedRow]:
    """The records that are rows; others can be on the topic only if someone else writes to it."""
    for record in records:
        if not period.covers(record):
            continue
        value = record.value or b""
        try:
            row = read_row(value)
        except msgspec.DecodeError:
            continue
        yield PublishedRow(row.MESSAGE_RECEIVE_TIME, row, value)


@asynccontextmanager
async def open_results(settings: Settings) -> AsyncIterator[ResultsReader]:
    """Connect to the results topic.

    Raises:
        BrokerError: the broker can't be reached, or has no such topic.
    """
    async with open_reader(settings, [settings.results_topic]) as consumer:
        yield ResultsReader(consumer, settings)
