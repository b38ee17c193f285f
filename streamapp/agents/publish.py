"""Publishes outcomes and waits for the broker's acknowledgement; the last step before an ack."""

import asyncio
import logging
import time
from types import TracebackType
from typing import Any, Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    BrokerResponseError,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    NodeNotReadyError,
)

from streamapp.errors import BrokerError, DeadLetterReason
from streamapp.kafka import client_options
from streamapp.records import Headers, ResultRow, SourcePosition, dead_letter_headers
from streamapp.settings import Settings
from streamapp.topics import TELL_EVERY_S, wait_for_topics

logger = logging.getLogger(__name__)

REQUEST_TIMEOUT_MS = 30_000
# How often a broker that is away is asked again: far below the time in which an orchestrator starts a worker.
ASK_EVERY_S = 3.0
# A broker that starts may not know its users yet, and says the same of them as of a wrong password.
REFUSED_FOR_S = 30.0
# Request timeouts: how long aiokafka may take for one record, and how long it may fail to reach a broker that
# answers others. One of its tries to connect lasts one.
STUCK_AFTER = 4
UNREACHED_AFTER = 4
# What the producer says when it can't connect. NotEnoughReplicas and its like are answers.
UNREACHED = (NodeNotReadyError, KafkaConnectionError)
CLOSE_TIMEOUT_S = 2.0
LINGER_MS = 5
# Kafka's default for message.max.bytes: a record that came from the broker fits in again.
MAX_RECORD_BYTES = 1_048_576
# The rows for one partition that go out together, about 36. aiokafka's 16 kB hold nine: every further sender
# then waits for them to leave, and all of them try again at once. A topic's max.message.bytes limits these.
MAX_BATCH_BYTES = 65_536


class Publisher:
    """One producer for result rows and dead letters. An async context manager.

    A producer of our own, not Faust's: Faust's costs twice the CPU per record (its futures and
    sensors), and its request timeout lets a lost record wait for 20 minutes.

    A broker that is away is waited for, however long: what waits is bounded by what may be in flight. A
    record that was written although its acknowledgement did not come is written again. Not waited for is a
    broker that answers others and stays out of this producer's reach: aiokafka never asks the bootstrap
    servers again, so it does not learn that all brokers have new addresses.

    Args:
        request_timeout_ms: longest wait for an acknowledgement before the broker is asked what is wrong.
        ask_every_s: shortest time between two such questions.
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
        self._told_s = -TELL_EVERY_S
        # Since when the broker has answered others, and acknowledged no record of ours.
        self._unreached_since_s: float | None = None

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            BrokerError: the broker does not answer.
        """
        producer = AIOKafkaProducer(
            acks="all",
            linger_ms=LINGER_MS,
            max_batch_size=MAX_BATCH_BYTES,
            request_timeout_ms=self._request_timeout_ms,
            max_request_size=MAX_RECORD_BYTES,
            **client_options(self._settings),
        )
        try:
            await producer.start()
        except (KafkaError, OSError) as exc:
            await producer.stop()
            raise BrokerError(f"The broker at {self._settings.brokers} does not answer: {exc!r}.") from exc
        self._producer = producer
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._producer is None:
            return
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._producer.stop()
        except TimeoutError:
            # It waits for records that nobody waits for any more: their events come again.
            self._producer._sender.sender_task.cancel()
            await self._producer.client.close()

    async def publish_row(self, row: ResultRow) -> bool:
        """Publish a row, keyed by its UID, and wait until the broker has it.

        Returns:
            False where the row is larger than the broker takes: then nothing was published.

        Raises:
            BrokerError: the broker refuses it, lacks the topic, or is out of reach while it answers others.
            SettingsError: the broker refuses the login or the client certificate.
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
            BrokerError: the broker refuses it, lacks the topic, or is out of reach while it answers others.
            SettingsError: the broker refuses the login or the client certificate.
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
            left_out = [*why, ("streamapp.value", b"left out: too large")]
            try:
                await self._send(topic, None, b"", left_out)
            except MessageSizeTooLargeError as exc:
                raise BrokerError(
                    f"The broker at {self._settings.brokers} takes no dead letter for the topic {topic}, "
                    f"even with its value left out: {exc!r}. Look at the topic's max.message.bytes."
                ) from exc

    async def _send(self, topic: str, key: bytes | None, value: bytes | None, headers: Headers) -> Any:
        if self._producer is None:
            raise RuntimeError("The publisher is not open. This is a bug.")
        while True:
            try:
                # aiokafka gives up after its request timeout; this one only guards against its defects.
                async with asyncio.timeout(STUCK_AFTER * self._request_timeout_ms / 1000):
                    acknowledged = await self._producer.send(topic, value, key=key, headers=headers)
                    record = await acknowledged
                self._unreached_since_s = None
                return record
            except MessageSizeTooLargeError:
                raise
            except TimeoutError:
                await self._sit_out(topic, KafkaConnectionError("The producer does not come back"))
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
            BrokerError: it answers, and lacks a topic, or has been out of this producer's reach for long.
            SettingsError: it refuses the login or the client certificate.
        """
        failed_s = time.monotonic()
        async with self._asking:
            if self._answered_s > failed_s:
                return
            # Records fail one by one: without the pause a broker that answers and takes none would be asked
            # as often.
            await asyncio.sleep(self._answered_s + self._ask_every_s - time.monotonic())
            self._tell(topic, error)
            is_at_once = await wait_for_topics(
                self._settings, every_s=self._ask_every_s, refused_for_s=REFUSED_FOR_S
            )
            self._answered_s = time.monotonic()
            self._require_reach(error, is_at_once=is_at_once)

    def _tell(self, topic: str, error: KafkaError) -> None:
        """Say that records wait, at most every 30 s."""
        if time.monotonic() - self._told_s < TELL_EVERY_S:
            return
        self._told_s = time.monotonic()
        logger.warning(
            "The broker at %s took no record for the topic %s for %.0f s: %r. Records are sent again.",
            self._settings.brokers,
            topic,
            self._request_timeout_ms / 1000,
            error,
        )

    def _require_reach(self, error: KafkaError, *, is_at_once: bool) -> None:
        """Make sure that the producer reaches a broker that answers others, sooner or later.

        Raises:
            BrokerError: it has not for `UNREACHED_AFTER` request timeouts.
        """
        if isinstance(error, BrokerResponseError) or not is_at_once:
            self._unreached_since_s = None
        elif isinstance(error, UNREACHED):
            self._unreached_since_s = self._unreached_since_s or self._answered_s
            unreached_s = self._answered_s - self._unreached_since_s
            if unreached_s >= UNREACHED_AFTER * self._request_timeout_ms / 1000:
                raise BrokerError(
                    f"The broker at {self._settings.brokers} answers, but this worker's producer has not "
                    f"reached it for {unreached_s:.0f} s: {error!r}. Its addresses may all have changed, "
                    "which a client learns only when it starts. Start the worker again."
                )
