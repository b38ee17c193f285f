"""Reads topics without a consumer group, so that nothing is taken from anyone."""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from streamapp.errors import BrokerError
from streamapp.kafka import client_options
from streamapp.settings import Settings
from streamapp.topics import ensure_topics, require_topics

REQUEST_TIMEOUT_MS = 10_000


@asynccontextmanager
async def open_reader(settings: Settings, names: Collection[str]) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer that has every partition of the topics assigned; its caller seeks.

    Raises:
        BrokerError: the broker can't be reached, or has not all of the topics.
    """
    topics = [topic for topic in await ensure_topics(settings, create=False) if topic.name in names]
    require_topics(settings, topics)
    consumer = AIOKafkaConsumer(
        enable_auto_commit=False, request_timeout_ms=REQUEST_TIMEOUT_MS, **client_options(settings)
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
        await consumer.stop()


@contextmanager
def read_errors(settings: Settings) -> Iterator[None]:
    """Kafka's errors as ours; never around the caller's code, whose OSErrors are its own.

    Raises:
        BrokerError: in place of a KafkaError or an OSError.
    """
    try:
        yield
    except (KafkaError, OSError) as exc:
        raise BrokerError(f"The broker at {settings.brokers} can't be read from: {exc!r}.") from exc
