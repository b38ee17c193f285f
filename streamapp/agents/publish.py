"""Publishes outcomes and waits for the broker's acknowledgement; the last step before an ack."""

from types import TracebackType
from typing import Any, Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from streamapp.errors import BrokerError, DeadLetterReason
from streamapp.kafka import client_options
from streamapp.records import Headers, ResultRow, SourcePosition, dead_letter_headers
from streamapp.settings import Settings

REQUEST_TIMEOUT_MS = 30_000
LINGER_MS = 5
# Kafka's default for message.max.bytes: a record that came from the broker fits in again.
MAX_RECORD_BYTES = 1_048_576


class Publisher:
    """One producer for result rows and dead letters. An async context manager.

    A producer of our own, not Faust's: Faust's costs twice the CPU per record (its futures and
    sensors), and its request timeout lets a lost record wait for 20 minutes.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._producer: AIOKafkaProducer | None = None

    async def __aenter__(self) -> Self:
        self._producer = AIOKafkaProducer(
            acks="all",
            linger_ms=LINGER_MS,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
            max_request_size=MAX_RECORD_BYTES,
            **client_options(self._settings),
        )
        await self._producer.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._producer is not None:
            await self._producer.stop()

    async def publish_row(self, row: ResultRow) -> bool:
        """Publish a row, keyed by its UID, and wait until the broker has it.

        Returns:
            False where the row is larger than the broker takes: then nothing was published.

        Raises:
            BrokerError: the broker did not acknowledge it in time; names the topic.
        """
        try:
            await self._send(self._settings.results_topic, row.UID.encode(), row.to_json(), [])
        except MessageSizeTooLargeError:
            return False
        return True

    async def publish_dead_letter(
        self,
        position: SourcePosition,
        key: bytes | None,
        value: bytes | None,
        headers: Headers,
        reason: DeadLetterReason,
        message: str,
    ) -> None:
        """Publish a record as it came, with why and from where in its headers, and wait for the broker.

        Where its own headers make it larger than the broker takes, it goes with these alone: the source
        position still finds the original. The header ``streamapp.value`` says where the value is not the
        original's.

        Raises:
            BrokerError: the broker did not acknowledge it in time; names the topic.
        """
        topic = self._settings.dead_letter_topic
        why = dead_letter_headers(position, reason, message)
        if key is None and value is None:
            # aiokafka refuses a record that has neither.
            value = b""
            why.append(("streamapp.value", b"null"))
        try:
            await self._send(topic, key, value, [*headers, *why])
        except MessageSizeTooLargeError:
            await self._send(topic, None, b"", [*why, ("streamapp.value", b"left out: too large")])

    async def _send(self, topic: str, key: bytes | None, value: bytes | None, headers: Headers) -> Any:
        if self._producer is None:
            raise RuntimeError("The publisher is not open. This is a bug.")
        try:
            acknowledged = await self._producer.send(topic, value, key=key, headers=headers)
            return await acknowledged
        except MessageSizeTooLargeError:
            raise
        except KafkaError as exc:
            # The last error alone misleads: of a topic that is missing it is NotLeaderForPartitionError.
            raise BrokerError(
                f"The broker at {self._settings.brokers} did not take a record for the topic {topic} within "
                f"{REQUEST_TIMEOUT_MS / 1000:.0f} s: {exc!r}. `streamapp topics` shows whether it is there."
            ) from exc
