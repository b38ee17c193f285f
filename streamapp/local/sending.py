"""Produces events: the standard Kafka producer, every event acknowledged by the broker."""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Iterator
from itertools import islice

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from streamapp.errors import BrokerError
from streamapp.kafka import client_options
from streamapp.local.events import key_of
from streamapp.records import SourcePosition
from streamapp.settings import Settings

_BATCH_EVENTS = 200
_REQUEST_TIMEOUT_MS = 10_000


async def send_values(
    settings: Settings, values: Iterable[bytes], *, rate_per_s: float | None = None
) -> AsyncGenerator[tuple[bytes, SourcePosition], None]:
    """Send values to the events topic as they are, keyed by the user id that can be read from them.

    At most a batch of 200 values is in memory at a time.

    Args:
        values: what the records hold, in order.
        rate_per_s: events per second; None: as fast as the broker takes them.

    Yields:
        Each value with the position that the broker acknowledged, in the order of ``values``.

    Raises:
        BrokerError: the broker can't be reached or did not take an event; those yielded before were taken.
    """
    producer = AIOKafkaProducer(
        acks="all", request_timeout_ms=_REQUEST_TIMEOUT_MS, **client_options(settings)
    )
    try:
        await producer.start()
        clock = asyncio.get_running_loop().time
        started, sent = clock(), 0
        for batch in _batches(values, _BATCH_EVENTS if rate_per_s is None else 1):
            if rate_per_s is not None:
                await asyncio.sleep(max(0.0, started + sent / rate_per_s - clock()))
            for value, position in zip(
                batch, await _send(producer, settings.events_topic, batch), strict=True
            ):
                yield value, position
            sent += len(batch)
    except (KafkaError, OSError) as exc:
        raise BrokerError(f"The broker at {settings.brokers} did not take the events: {exc!r}.") from exc
    finally:
        await producer.stop()


async def _send(producer: AIOKafkaProducer, topic: str, batch: list[bytes]) -> list[SourcePosition]:
    acknowledgements = [await producer.send(topic, value, key=key_of(value)) for value in batch]
    # The producer gives up after its own request timeout; this one only guards against its defects.
    async with asyncio.timeout(4 * _REQUEST_TIMEOUT_MS / 1000):
        records = await asyncio.gather(*acknowledgements)
    return [SourcePosition(record.topic, record.partition, record.offset) for record in records]


def _batches(values: Iterable[bytes], size: int) -> Iterator[list[bytes]]:
    iterator = iter(values)
    while batch := list(islice(iterator, size)):
        yield batch
