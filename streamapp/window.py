"""The offset window: which source events may be acked, and in which order.

Work completes in any order; acks leave in offset order, per partition and consumer generation. So the
committed offset never passes an event whose outcome the broker has not acknowledged (DESIGN §3).
Pure: no I/O, no clock, no asyncio. Owned by the event loop's thread.
"""

from collections import deque
from collections.abc import Hashable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Payload = TypeVar("Payload")


class Ticket(Generic[Payload]):
    """One event in the window. `payload` is the caller's; the window never looks at it."""

    __slots__ = ("generation", "is_done", "offset", "partition", "payload")

    def __init__(self, partition: Hashable, generation: Hashable, offset: int, payload: Payload) -> None:
        self.partition = partition
        self.generation = generation
        self.offset = offset
        self.payload = payload
        self.is_done = False

    def __repr__(self) -> str:
        return f"Ticket({self.partition}@{self.offset}, generation {self.generation}, done {self.is_done})"


@dataclass(slots=True)
class _Lane(Generic[Payload]):
    """The tickets of one partition that are not acked yet, in offset order."""

    last_offset: int = -1
    tickets: deque[Ticket[Payload]] = field(default_factory=deque)


class OffsetWindow(Generic[Payload]):
    """Orders the acks of events that complete in any order.

    Attributes:
        generation: the consumer generation whose tickets may be acked; compared, never ordered.
        unacked: tickets that are open and not handed out for acking yet.
    """

    def __init__(self) -> None:
        self.generation: Hashable = None
        self.unacked = 0
        self._lanes: dict[Hashable, _Lane[Payload]] = {}

    def begin_generation(self, generation: Hashable) -> int:
        """Forget every ticket of another generation: Kafka delivers those events again.

        Returns:
            How many tickets were forgotten.
        """
        if generation == self.generation:
            return 0
        forgotten = self.unacked
        self.generation = generation
        self.unacked = 0
        self._lanes.clear()
        return forgotten

    def open(
        self, partition: Hashable, generation: Hashable, offset: int, payload: Payload
    ) -> Ticket[Payload]:
        """Take an event in. One of an old generation gets a ticket that will never be acked.

        Raises:
            RuntimeError: the offset is not above the partition's last one in this generation.
        """
        ticket = Ticket(partition, generation, offset, payload)
        if not self.is_current(ticket):
            return ticket
        lane = self._lanes.setdefault(partition, _Lane())
        if offset <= lane.last_offset:
            raise RuntimeError(
                f"{partition} delivered offset {offset} after {lane.last_offset} "
                f"in generation {generation}. This is a bug."
            )
        lane.last_offset = offset
        lane.tickets.append(ticket)
        self.unacked += 1
        return ticket

    def oldest(self) -> list[Ticket[Payload]]:
        """The first ticket of each partition that is not acked: what holds up the others. From any thread."""
        heads = []
        for lane in list(self._lanes.values()):
            # Another thread's look may find a lane that was emptied meanwhile.
            with suppress(IndexError):
                heads.append(lane.tickets[0])
        return heads

    def is_current(self, ticket: Ticket[Payload]) -> bool:
        """Whether an outcome of this ticket can still be acked by this worker."""
        return ticket.generation == self.generation

    def complete(self, ticket: Ticket[Payload]) -> list[Ticket[Payload]]:
        """Note that the broker has the event's outcome.

        Returns:
            The tickets that may be acked now, in offset order: none while an earlier one of the
            partition is open, or when the ticket's generation is over.
        """
        if ticket.is_done:
            raise RuntimeError(f"{ticket!r} has two outcomes. This is a bug.")
        ticket.is_done = True
        if not self.is_current(ticket):
            return []
        tickets = self._lanes[ticket.partition].tickets
        ready = []
        while tickets and tickets[0].is_done:
            ready.append(tickets.popleft())
        self.unacked -= len(ready)
        return ready
