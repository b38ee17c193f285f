"""Sends dead letters back to the events topic, each at most so often, and remembers which."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from types import TracebackType
from typing import Self

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError, MessageSizeTooLargeError
from aiokafka.structs import RecordMetadata

from streamapp.dead_letters.ledger import ReplayLedger, open_ledger
from streamapp.dead_letters.letter import REPLAYS_HEADER, DeadLetter, own_headers, replays_of
from streamapp.dead_letters.reader import Choice, DeadLetterReader, open_dead_letters
from streamapp.errors import BrokerError
from streamapp.kafka import client_options
from streamapp.reading import Ranges, open_reader, read_one
from streamapp.records import Headers, SourcePosition
from streamapp.settings import Settings
from streamapp.topics import ensure_topics, require_topics

REQUEST_TIMEOUT_MS = 30_000
# Whether a record is too large says the broker: the original fitted in, and only a small header is added.
_CLIENT_LIMIT_BYTES = 64 * 1024 * 1024


class LeftOut(StrEnum):
    """Why a chosen dead letter is not sent back."""

    REPLAYED = "sent back already"
    AT_BOUND = "sent back as often as --max-replays allows"
    OTHER_TOPIC = "not from the events topic"
    EMPTY = "without key and value, which Kafka's client does not send"
    SOURCE_GONE = "without their value, and their originals are gone from the events topic"
    TOO_LARGE = "larger than the broker takes"


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of a chosen dead letter.

    Attributes:
        left_out: why it is not sent; None: it is.
        replays: what its header says when it is sent.
        sent_to: the position that the broker acknowledged; None before.
    """

    letter: DeadLetter
    replays: int
    left_out: LeftOut | None = None
    sent_to: SourcePosition | None = None


class Replay:
    """Dead letters of one choice, an async context manager.

    Attributes:
        ranges: the offsets among which they are, once it is open.

    Args:
        max_replays: a record that had been sent back so often stays where it is.
        again: also those that have been sent back.
        ranges: those of an earlier replay of the same choice; None: what the topic holds when it is opened.
            Either way the dead letters that come of the replay itself are not among them.
    """

    def __init__(
        self,
        settings: Settings,
        choice: Choice,
        *,
        max_replays: int,
        again: bool = False,
        ranges: Ranges | None = None,
    ) -> None:
        self.ranges = ranges or {}
        self._is_fixed = ranges is not None
        self._settings = settings
        self._choice = choice
        self._max_replays = max_replays
        self._again = again
        self._stack = AsyncExitStack()
        self._originals: AIOKafkaConsumer | None = None

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            self._reader: DeadLetterReader = await stack.enter_async_context(
                open_dead_letters(self._settings)
            )
            self._ledger: ReplayLedger = await stack.enter_async_context(
                open_ledger(self._settings, self._reader.held)
            )
            if not self._is_fixed:
                self.ranges = await self._reader.ranges(self._choice)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def planned(self) -> AsyncGenerator[Decision]:
        """What `send` would do; nothing is sent.

        Raises:
            BrokerError: the broker stopped answering.
        """
        async for letters in self._reader.read(self._choice, self.ranges):
            for letter in letters:
                yield await self._decide(letter)

    async def send(self, stop: asyncio.Event) -> AsyncGenerator[Decision]:
        """Send the chosen dead letters back; each decision comes when the broker has its record.

        1. Decide. 2. Make sure that it can be remembered. 3. Send a fetch's records, wait for their acks.
        4. Remember what was acknowledged, also where others were not. A crash between 3 and 4 sends one
        fetch's records, about 1 MB of each partition, again when the replay is repeated.

        Args:
            stop: ends it between two fetches.

        Raises:
            BrokerError: the broker did not take a record, or not the note that it was sent.
        """
        async with _open_producer(self._settings) as producer:
            async for letters in self._reader.read(self._choice, self.ranges):
                if stop.is_set():
                    return
                decided = [await self._decide(letter) for letter in letters]
                self._ledger.check_room(one.letter.position for one in decided if one.left_out is None)
                resolved, error = await self._send(producer, decided)
                await self._ledger.note([one.letter.position for one in resolved if one.sent_to is not None])
                for decision in resolved:
                    yield decision
                if error is not None:
                    raise BrokerError(
                        f"The broker at {self._settings.brokers} did not take a dead letter back: {error!r}. "
                        "What it took is remembered."
                    ) from error

    async def _decide(self, letter: DeadLetter) -> Decision:
        if letter.source.topic != self._settings.events_topic:
            return Decision(letter, letter.replays, LeftOut.OTHER_TOPIC)
        if letter.had_neither_key_nor_value:
            return Decision(letter, letter.replays, LeftOut.EMPTY)
        if letter.position in self._ledger and not self._again:
            return Decision(letter, letter.replays, LeftOut.REPLAYED)
        if letter.is_left_out:
            original = await self._original(letter)
            if original is None:
                return Decision(letter, letter.replays, LeftOut.SOURCE_GONE)
            letter = original
        if letter.replays >= self._max_replays:
            return Decision(letter, letter.replays, LeftOut.AT_BOUND)
        return Decision(letter, letter.replays + 1)

    async def _original(self, letter: DeadLetter) -> DeadLetter | None:
        """The letter with what its source position holds; None where that is gone."""
        if self._originals is None:
            self._originals = await self._stack.enter_async_context(
                open_reader(self._settings, [self._settings.events_topic])
            )
        place = TopicPartition(letter.source.topic, letter.source.partition)
        record = await read_one(self._originals, place, letter.source.offset, self._settings)
        if record is None or (record.key is None and record.value is None):
            return None
        return replace(
            letter,
            key=record.key,
            value=record.value,
            headers=own_headers(record.headers),
            # A dead letter that lost its value may have lost this header too.
            replays=max(letter.replays, replays_of(record.headers)),
        )

    async def _send(
        self, producer: AIOKafkaProducer, decided: Sequence[Decision]
    ) -> tuple[list[Decision], BaseException | None]:
        """Send what is to be sent, and wait for every ack.

        Returns:
            The decisions that are final, and the error of one that is not.
        """
        outgoing = [one for one in decided if one.left_out is None]
        resolved = [one for one in decided if one.left_out is not None]
        error: BaseException | None = None
        waiting: list[asyncio.Future[RecordMetadata]] = []
        try:
            for one in outgoing:
                waiting.append(await self._hand_over(producer, one))
        except KafkaError as exc:
            error = exc
        if waiting:
            # The producer gives up after its own request timeout; this one only guards against its defects.
            await asyncio.wait(waiting, timeout=4 * REQUEST_TIMEOUT_MS / 1000)
        for one, answer in zip(outgoing, waiting, strict=False):
            exc_or_none = answer.exception() if answer.done() else TimeoutError()
            if exc_or_none is None:
                record = answer.result()
                position = SourcePosition(record.topic, record.partition, record.offset)
                resolved.append(replace(one, sent_to=position))
            elif isinstance(exc_or_none, MessageSizeTooLargeError):
                resolved.append(replace(one, replays=one.replays - 1, left_out=LeftOut.TOO_LARGE))
            else:
                error = exc_or_none
        return resolved, error

    async def _hand_over(
        self, producer: AIOKafkaProducer, decision: Decision
    ) -> "asyncio.Future[RecordMetadata]":
        letter = decision.letter
        headers: Headers = [*letter.headers, (REPLAYS_HEADER, str(decision.replays).encode())]
        # By its key, as the first time: to the partition of the user's other events.
        topic = self._settings.events_topic
        return await producer.send(topic, letter.value, key=letter.key, headers=headers)  # type: ignore[no-any-return]  # aiokafka is untyped


@asynccontextmanager
async def _open_producer(settings: Settings) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(
        acks="all",
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        max_request_size=_CLIENT_LIMIT_BYTES,
        **client_options(settings),
    )
    try:
        try:
            topics = await ensure_topics(settings, create=False)
            # No other: whoever replays need not see where the rows go.
            require_topics(settings, [topic for topic in topics if topic.name == settings.events_topic])
            await producer.start()
        except (KafkaError, OSError) as exc:
            raise BrokerError(f"The broker at {settings.brokers} does not answer: {exc!r}.") from exc
        yield producer
    finally:
        await producer.stop()
