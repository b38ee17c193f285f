"""Dead letters to publish, for the tests that need a broker."""

from datetime import UTC, datetime

from aiokafka import AIOKafkaProducer
from aiokafka.structs import RecordMetadata

from streamapp.errors import DeadLetterReason
from streamapp.kafka import client_options
from streamapp.records import Headers, SourcePosition, dead_letter_headers
from streamapp.settings import Settings

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


async def publish_letter(
    settings: Settings,
    value: bytes | None = b"{not json",
    *,
    partition: int = 0,
    key: bytes | None = b"7",
    headers: Headers | None = None,
    reason: DeadLetterReason = DeadLetterReason.NOT_JSON,
    source: SourcePosition | None = None,
    lacks: bytes | None = None,
    at: datetime | None = None,
) -> int:
    """Publish a dead letter as a worker does; its offset."""
    source = source or SourcePosition(settings.events_topic, 3, 41210)
    why = dead_letter_headers(source, reason, "The value is not JSON.")
    if lacks is not None:
        why.append(("streamapp.value", lacks))
    return (
        await publish_record(
            settings,
            settings.dead_letter_topic,
            value,
            partition=partition,
            key=key,
            headers=[*(headers or []), *why],
            at=at,
        )
    ).offset


async def publish_record(
    settings: Settings,
    topic: str,
    value: bytes | None,
    *,
    partition: int = 0,
    key: bytes | None = b"7",
    headers: Headers | None = None,
    at: datetime | None = None,
) -> RecordMetadata:
    """Publish a record to one partition, at a time of the test's choice; what the broker acknowledged."""
    timestamp_ms = None if at is None else int(at.timestamp() * 1000)
    async with AIOKafkaProducer(max_request_size=2_000_000, **client_options(settings)) as producer:
        return await producer.send_and_wait(
            topic, value, key=key, partition=partition, headers=headers or [], timestamp_ms=timestamp_ms
        )
