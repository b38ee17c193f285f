"""Reads result rows back from Kafka, without a consumer group, so that it takes nothing from anyone."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import datetime

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from streamapp.errors import BrokerError
from streamapp.kafka import client_options
from streamapp.records import ResultRow, read_row
from streamapp.settings import Settings
from streamapp.topics import ensure_topics

REQUEST_TIMEOUT_MS = 10_000
POLL_MS = 500


class ResultsReader:
    """The rows of the results topic, over all of its partitions."""

    def __init__(self, consumer: AIOKafkaConsumer, partitions: list[TopicPartition]) -> None:
        self._consumer = consumer
        self._partitions = partitions

    async def latest(self, count: int | None) -> list[ResultRow]:
        """The newest `count` rows that are there now (None: all), oldest first.

        The consumer is left behind the last of them, where `follow` goes on.
        """
        begin = await self._consumer.beginning_offsets(self._partitions)
        end = await self._consumer.end_offsets(self._partitions)
        for partition in self._partitions:
            first = begin[partition]
            self._consumer.seek(partition, first if count is None else max(first, end[partition] - count))
        rows: list[ResultRow] = []
        while any([await self._consumer.position(p) < end[p] for p in self._partitions]):
            rows += await self._poll()
        rows.sort(key=lambda row: datetime.fromisoformat(row.MESSAGE_RECEIVE_TIME))
        return rows if count is None else rows[max(0, len(rows) - count) :]

    async def follow(self) -> AsyncIterator[ResultRow]:
        """Every row from here on, without an end."""
        while True:
            for row in await self._poll():
                yield row

    async def _poll(self) -> list[ResultRow]:
        batches = await self._consumer.getmany(timeout_ms=POLL_MS)
        return list(_rows(record.value for records in batches.values() for record in records))


def _rows(values: Iterable[bytes | None]) -> Iterable[ResultRow]:
    """The values that are rows; others can be on the topic only if someone else writes to it."""
    for value in values:
        try:
            yield read_row(value or b"")
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
        raise BrokerError(f"The broker at {settings.brokers} has no topic {settings.results_topic}.")
    partitions = [TopicPartition(settings.results_topic, number) for number in range(count)]
    consumer = AIOKafkaConsumer(
        enable_auto_commit=False, request_timeout_ms=REQUEST_TIMEOUT_MS, **client_options(settings)
    )
    try:
        await consumer.start()
        consumer.assign(partitions)
        yield ResultsReader(consumer, partitions)
    except (KafkaError, OSError) as exc:
        raise BrokerError(f"The broker at {settings.brokers} does not answer: {exc!r}.") from exc
    finally:
        await consumer.stop()
