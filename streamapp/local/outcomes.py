"""Reads what came of events: rows from the results topic, dead letters from theirs."""

import asyncio
from collections.abc import Callable, Collection
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import msgspec
from aiokafka import ConsumerRecord, TopicPartition

from streamapp.group_offsets import committed_offsets
from streamapp.reading import REQUEST_TIMEOUT_MS, open_reader, read_errors
from streamapp.records import ResultRow, SourcePosition, read_row
from streamapp.settings import Settings

_POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one event: a row, or a dead letter.

    Attributes:
        source: the event's position.
        value: the record's value, a row's JSON or the dead letter's original bytes.
        row: None for a dead letter.
        dead_letter: the reason; None for a row.
        message: a dead letter's explanation.
    """

    source: SourcePosition
    value: bytes
    row: ResultRow | None = None
    dead_letter: str | None = None
    message: str = ""


class OutcomeReader:
    """The outcomes that are published from now on, as an async context manager.

    Kafka's duplicates are passed on; so are, at the start, a few older records where the broker reports
    end offsets too low.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        topics = [self._settings.results_topic, self._settings.dead_letter_topic]
        async with AsyncExitStack() as stack:
            self._consumer = await stack.enter_async_context(open_reader(self._settings, topics))
            with read_errors(self._settings):
                async with asyncio.timeout(REQUEST_TIMEOUT_MS / 1000):
                    await self._consumer.seek_to_end()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def read(self, timeout_s: float) -> list[Outcome]:
        """The next outcomes; empty where none came in time. Records that are none are passed over."""
        with read_errors(self._settings):
            batches = await self._consumer.getmany(timeout_ms=int(timeout_s * 1000))
        outcomes = [self._outcome(record) for records in batches.values() for record in records]
        return [outcome for outcome in outcomes if outcome is not None]

    async def collect(
        self,
        sources: Collection[SourcePosition],
        *,
        timeout_s: float,
        on_outcome: Callable[[Outcome], None],
        check: Callable[[], None] = lambda: None,
    ) -> set[SourcePosition]:
        """Read until each of the events has its outcome or the time is up.

        Args:
            sources: the events that are waited for.
            timeout_s: for all of them together.
            on_outcome: called for each outcome that is read, repeats and those of other events too.
            check: called several times a second; may raise, to end the waiting.

        Returns:
            The events that have no outcome yet.
        """
        clock = asyncio.get_running_loop().time
        give_up_at = clock() + timeout_s
        waiting = set(sources)
        while waiting and clock() < give_up_at:
            for outcome in await self.read(_POLL_S):
                waiting.discard(outcome.source)
                on_outcome(outcome)
            check()
        return waiting

    def _outcome(self, record: ConsumerRecord) -> Outcome | None:
        if record.value is None:
            return None
        try:
            if record.topic == self._settings.results_topic:
                return _row_outcome(record.value)
            return _dead_letter_outcome(record.value, dict(record.headers))
        except (msgspec.DecodeError, KeyError, ValueError, TypeError):
            # Not written by streamapp: someone else's record, or a row without PROVENANCE.
            return None


async def wait_until_committed(
    settings: Settings, sources: Collection[SourcePosition], *, timeout_s: float
) -> set[SourcePosition]:
    """Wait until the consumer group has committed past each of the events.

    Returns:
        Those that it has not when the time is up.

    Raises:
        BrokerError: the broker can't be reached.
    """
    places = {TopicPartition(source.topic, source.partition) for source in sources}
    clock = asyncio.get_running_loop().time
    give_up_at = clock() + timeout_s
    while True:
        committed = await committed_offsets(settings, settings.group, places)
        left = {s for s in sources if committed[TopicPartition(s.topic, s.partition)].offset <= s.offset}
        if not left or clock() >= give_up_at:
            return left
        await asyncio.sleep(_POLL_S)


def _row_outcome(value: bytes) -> Outcome:
    row = read_row(value)
    source = row.MODEL_ATTRIBUTES.PROVENANCE["source"]
    position = SourcePosition(str(source["topic"]), int(source["partition"]), int(source["offset"]))
    return Outcome(position, value, row=row)


def _dead_letter_outcome(value: bytes, headers: dict[str, bytes]) -> Outcome:
    texts = {name: content.decode(errors="replace") for name, content in headers.items()}
    position = SourcePosition(
        texts["streamapp.source.topic"],
        int(texts["streamapp.source.partition"]),
        int(texts["streamapp.source.offset"]),
    )
    reason, message = texts["streamapp.reason"], texts.get("streamapp.message", "")
    return Outcome(position, value, dead_letter=reason, message=message)
