"""Publishes outcomes and waits for the broker's acknowledgement; the last step before an ack."""

import asyncio
import logging
import time
from types import TracebackType
from typing import Any, Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, KafkaTimeoutError, MessageSizeTooLargeError

from streamapp.errors import BrokerError, DeadLetterReason
from streamapp.kafka import client_options
from streamapp.records import Headers, ResultRow, SourcePosition, dead_letter_headers
from streamapp.settings import Settings
from streamapp.topics import wait_for_topics

logger = logging.getLogger(__name__)

REQUEST_TIMEOUT_MS = 30_000
# How often a broker that is away is asked again: far below the time in which an orchestrator starts a worker.
ASK_EVERY_S = 3.0
LINGER_MS = 5
# Kafka's default for message.max.bytes: a record that came from the broker fits in again.
MAX_RECORD_BYTES = 1_048_576


class Publisher:
    """One producer for result rows and dead letters. An async context manager.

    A producer of our own, not Faust's: Faust's costs twice the CPU per record (its futures and
    sensors), and its request timeout lets a lost record wait for 20 minutes.

    A broker that is away is waited for, however long: what waits is bounded by what may be in flight. A
    record that was written although its acknowledgement did not come is written again.

    Args:
        request_timeout_ms: longest wait for an acknowledgement before the broker is asked what is wrong.
        ask_every_s: pause between two such questions while it does not answer.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        request_timeout_ms: int = REQUEST_TIMEOUT_MS,
        ask_every_s: float = ASK_EVERY_S,
    ) -> None:
        self._settings = settings
        self._request_timeout_ms = request_timeout_ms
        self._ask_every_s = ask_every_s
        self._producer: AIOKafkaProducer | None = None
        self._asking = asyncio.Lock()
        self._answered_s = 0.0

    async def __aenter__(self) -> Self:
        self._producer = AIOKafkaProducer(
            acks="all",
            linger_ms=LINGER_MS,
            request_timeout_ms=self._request_timeout_ms,
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
            BrokerError: the broker refuses it, or lacks the topic; names the topic.
            SettingsError: the broker refuses the login.
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
            BrokerError: the broker refuses it, or lacks the topic; names the topic.
            SettingsError: the broker refuses the login.
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
        while True:
            try:
                acknowledged = await self._producer.send(topic, value, key=key, headers=headers)
                return await acknowledged
            except MessageSizeTooLargeError:
                raise
            except KafkaError as exc:
                # A KafkaTimeoutError says that older records of the partition are not out yet.
                if not (exc.retriable or isinstance(exc, KafkaTimeoutError)):
                    broker = self._settings.brokers
                    raise BrokerError(
                        f"The broker at {broker} refuses a record for the topic {topic}: {exc!r}."
                    ) from exc
                await self._sit_out(topic, exc)

    async def _sit_out(self, topic: str, error: KafkaError) -> None:
        """Wait until the broker answers; one asks for all that wait.

        The broker itself is asked, for the error misleads: of a topic that is missing it is the same as of a
        broker that is away, or NotLeaderForPartitionError.

        Raises:
            BrokerError: it answers, and lacks a topic.
            SettingsError: it refuses the login.
        """
        failed_s = time.monotonic()
        async with self._asking:
            if self._answered_s > failed_s:
                return
            logger.warning(
                "The broker at %s took no record for the topic %s for %.0f s: %r. Records are sent again.",
                self._settings.brokers,
                topic,
                self._request_timeout_ms / 1000,
                error,
            )
            await wait_for_topics(self._settings, every_s=self._ask_every_s)
            self._answered_s = time.monotonic()
