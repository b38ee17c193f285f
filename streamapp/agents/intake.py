"""The intake: bounds the events in flight, and acks them in offset order once their outcome is out."""

import asyncio
import logging
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, get_args

from streamapp.histogram import Histogram
from streamapp.records import Headers, SourcePosition
from streamapp.window import OffsetWindow, Ticket

if TYPE_CHECKING:
    from streamapp.spans import EventTrace, Tracing

logger = logging.getLogger(__name__)

# How long the intake may wait for room before it says so.
WARN_AFTER_S = 30.0


@dataclass(frozen=True, slots=True, eq=False)
class Delivery:
    """A source event as Faust delivered it.

    Attributes:
        received_at: UTC time at which the worker took it.
        started_s: the same moment on `time.monotonic`, for durations.
        trace: the event's span; None where it has none.
    """

    stream: Any
    event: Any
    source: SourcePosition
    received_at: datetime
    started_s: float
    trace: "EventTrace | None" = None

    @property
    def key(self) -> bytes | None:
        """The Kafka record's key."""
        return self.event.message.key  # type: ignore[no-any-return]  # Faust is untyped

    @property
    def value(self) -> bytes | None:
        """The Kafka record's value."""
        return self.event.message.value  # type: ignore[no-any-return]  # Faust is untyped

    @property
    def headers(self) -> Headers:
        """The Kafka record's headers."""
        headers = self.event.message.headers or []
        return list(headers.items()) if isinstance(headers, dict) else list(headers)


Taken = Ticket[Delivery]

Kind = Literal["rows", "dead letters", "pictures removed"]
"""The ways in which an event ends."""

KINDS: tuple[Kind, ...] = get_args(Kind)


class Intake:
    """Owns the offset window of a worker.

    Attributes:
        in_flight: events without an outcome.
        outcomes: events that have one, by its kind.
        reasons: rows without a verdict, by the reason.
        outcome_s: from taking an event to the broker's having its outcome.
        events_in_flight, pictures_in_flight, unacked_events: the bounds.

    Args:
        app: the Faust app; tells the consumer generation.
        events_in_flight: events that may be without an outcome at the same time; one that waits for a slow
            server costs next to nothing.
        pictures_in_flight: those of them whose picture may be in memory.
        unacked_events: events that may be taken and not acked; more than the former, because one slow
            event holds up the acks of its partition, and must not hold up the other events' work.
        tracing: begins the events' spans; None where there are none.
    """

    def __init__(
        self,
        app: Any,
        *,
        events_in_flight: int,
        pictures_in_flight: int,
        unacked_events: int,
        tracing: "Tracing | None" = None,
    ) -> None:
        self._app = app
        self._tracing = tracing
        self._places = asyncio.Semaphore(events_in_flight)
        self._picture_places = asyncio.Semaphore(pictures_in_flight)
        self._with_picture: set[Taken] = set()
        self.events_in_flight = events_in_flight
        self.pictures_in_flight = pictures_in_flight
        self.unacked_events = unacked_events
        self._window: OffsetWindow[Delivery] = OffsetWindow()
        self._room = asyncio.Event()
        self._epoch = 0
        self.in_flight = 0
        self.outcomes: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.outcome_s = Histogram()

    @property
    def pictures(self) -> int:
        """Events in flight whose picture is in memory."""
        return len(self._with_picture)

    @property
    def unacked(self) -> int:
        """Events taken and not acked yet."""
        return self._window.unacked

    @property
    def oldest_unacked_s(self) -> float:
        """Seconds since the oldest of them was taken; 0 where there is none. From any thread."""
        taken_s = [ticket.payload.started_s for ticket in self._window.oldest()]
        return time.monotonic() - min(taken_s) if taken_s else 0.0

    async def take(self, stream: Any, event: Any) -> Taken:
        """Take an event in; waits while too many are in flight or not acked."""
        epoch = self._epoch
        await self._places.acquire()
        try:
            await self._wait_for_room()
            ticket = self._open(stream, event, epoch)
        except BaseException:
            self._places.release()
            raise
        self.in_flight += 1
        return ticket

    def _open(self, stream: Any, event: Any, epoch: int) -> Taken:
        message = event.message
        delivery = Delivery(
            stream,
            event,
            SourcePosition(message.topic, message.partition, message.offset),
            datetime.now(UTC),
            time.monotonic(),
            None if self._tracing is None else self._tracing.begin(message),
        )
        self.follow_generation()
        generation = (epoch, message.generation_id)
        return self._window.open(message.tp, generation, message.offset, delivery)

    async def admit_picture(self, ticket: Taken) -> None:
        """Wait until there is room for the event's picture; the room is its own until its ack or its drop."""
        await self._picture_places.acquire()
        self._with_picture.add(ticket)

    def is_current(self, ticket: Taken) -> bool:
        """Whether the event is still this worker's: after a rebalance Kafka delivers it again."""
        self.follow_generation()
        return self._window.is_current(ticket)

    async def ack(self, ticket: Taken, outcome: Kind, reason: str | None = None) -> None:
        """Note that the broker has the event's outcome, and ack what may be acked by it.

        Args:
            reason: why the event's row has no verdict, where it has none.
        """
        self.follow_generation()
        self._leave(ticket)
        if ticket.payload.trace is not None:
            ticket.payload.trace.end(outcome, reason)
        self.outcomes[outcome] += 1
        self.outcome_s.observe(time.monotonic() - ticket.payload.started_s)
        if reason is not None:
            self.reasons[reason] += 1
        for ready in self._window.complete(ticket):
            self._app.consumer.permit_ack(ready.payload.event.message)
            await ready.payload.stream.ack(ready.payload.event)
        self._room.set()

    def drop(self, ticket: Taken) -> None:
        """Give up an event of an old generation without an outcome; Kafka delivers it again."""
        if self._window.is_current(ticket):
            raise RuntimeError(f"{ticket!r} is dropped and still ours. This is a bug.")
        self._leave(ticket)
        if ticket.payload.trace is not None:
            ticket.payload.trace.end("lost")

    def begin_epoch(self) -> None:
        """Note that partitions were assigned: what was taken before is delivered again.

        The generation alone does not tell: a broker may give the same number twice.
        """
        self._epoch += 1
        self.follow_generation()

    def follow_generation(self) -> None:
        """Notice a rebalance: events of the old generation are never acked."""
        forgotten = self._window.begin_generation((self._epoch, self._app.consumer_generation_id))
        if forgotten:
            logger.info("A rebalance took back %d events that had no ack yet; they come again.", forgotten)
            self._room.set()

    def _leave(self, ticket: Taken) -> None:
        """Give the event's places back."""
        self.in_flight -= 1
        self._places.release()
        if ticket in self._with_picture:
            self._with_picture.remove(ticket)
            self._picture_places.release()

    async def _wait_for_room(self) -> None:
        while self._window.unacked >= self.unacked_events:
            self._room.clear()
            try:
                async with asyncio.timeout(WARN_AFTER_S):
                    await self._room.wait()
            except TimeoutError:
                self.follow_generation()
                logger.warning(
                    "%d events are taken and not acked, the most that unacked_events allows: nothing is read "
                    "until the oldest has its outcome.",
                    self._window.unacked,
                )
