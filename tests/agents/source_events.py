"""Stand-ins for what Faust hands to an agent; named by what they do."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Any

from streamapp.errors import DeadLetterReason
from streamapp.records import Headers, ResultRow, SourcePosition

TIMEOUT_S = 10


@dataclass
class PermitRecordingConsumer:
    """Notes, as (partition, offset), the acks that it is told to let through."""

    permits: list[tuple[int, int]] = field(default_factory=list)

    def permit_ack(self, message: "Message") -> None:
        self.permits.append((message.partition, message.offset))


@dataclass
class GenerationApp:
    """Knows its consumer and the generation of it, as a Faust app does."""

    consumer_generation_id: int = 1
    consumer: PermitRecordingConsumer = field(default_factory=PermitRecordingConsumer)

    def rebalance(self) -> None:
        self.consumer_generation_id += 1


@dataclass(eq=False)
class Message:
    offset: int
    generation_id: int = 1
    partition: int = 0
    value: bytes | None = b"{}"
    key: bytes | None = b"7"
    headers: Any = field(default_factory=list)
    topic: str = "modify_user"

    @property
    def tp(self) -> tuple[str, int]:
        return (self.topic, self.partition)


@dataclass(eq=False)
class SourceEvent:
    message: Message


class AckRecordingStream:
    """Notes the acks, as (partition, offset), in the order in which they are sent."""

    def __init__(self, events: Iterable[SourceEvent] = (), journal: list[str] | None = None) -> None:
        self.acks: list[tuple[int, int]] = []
        self.is_noack = False
        self._events = list(events)
        self._journal = journal if journal is not None else []

    def noack(self) -> "AckRecordingStream":
        self.is_noack = True
        return self

    async def events(self) -> AsyncIterator[SourceEvent]:
        for event in self._events:
            yield event

    async def ack(self, event: SourceEvent) -> bool:
        self.acks.append((event.message.partition, event.message.offset))
        self._journal.append(f"ack {event.message.offset}")
        return True


class RecordingPublisher:
    """Notes what it is given; every row longer than `max_row_bytes` is larger than the broker takes."""

    def __init__(self, journal: list[str], max_row_bytes: int = 100_000) -> None:
        self.rows: list[ResultRow] = []
        self.dead_letters: list[tuple[SourcePosition, bytes | None, bytes | None, Headers, str]] = []
        self._journal = journal
        self._max_row_bytes = max_row_bytes

    async def publish_row(self, row: ResultRow) -> bool:
        if len(row.to_json()) > self._max_row_bytes:
            return False
        self.rows.append(row)
        self._journal.append(f"row {row.UID}")
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
        assert message
        self.dead_letters.append((position, key, value, headers, reason.value))
        self._journal.append(f"dead letter {position.offset}")


def source_event(offset: int, **message: Any) -> SourceEvent:
    return SourceEvent(Message(offset, **message))


async def settle() -> None:
    """Let everything run that can: some turns of the loop, for nothing waits for a clock here."""
    for _ in range(20):
        await asyncio.sleep(0)


async def is_waiting(task: asyncio.Task[Any]) -> bool:
    """Whether the task still waits once everything that can run has run."""
    await settle()
    return not task.done()
