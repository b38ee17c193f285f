"""The first stage, a Faust agent: takes events, obtains their pictures, hands them on."""

import asyncio
import logging
from dataclasses import dataclass
from functools import partial
from typing import Any

from streamapp.agents.intake import Intake, Taken
from streamapp.agents.publish import Publisher
from streamapp.errors import EventError
from streamapp.histogram import Histogram
from streamapp.obtain import Obtained, PictureSource
from streamapp.records import Event, read_event

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Looked:
    """An event with what became of its URL, on its way to the models."""

    ticket: Taken
    event: Event
    obtained: Obtained


class DownloadStage:
    """Takes events off the stream, as many at once as the intake allows.

    Attributes:
        fetch_s: downloads, waits and retries included; those that were refused unasked left out.
        decode_s: decoding a file, also one that can't be.
        prepare_s: preparing a picture's frames for the models.

    Args:
        service: the Faust app; a task of its that raises ends the process, with nothing acked.
        ready: the bounded queue to the inference stage. When it is full the tasks wait with their
            pictures, the intake fills up, and Faust stops reading: that is the backpressure.
    """

    def __init__(
        self,
        service: Any,
        intake: Intake,
        source: PictureSource,
        publisher: Publisher,
        ready: asyncio.Queue[Looked],
    ) -> None:
        self._service = service
        self._intake = intake
        self._source = source
        self._publisher = publisher
        self._ready = ready
        self._tasks: dict[asyncio.Task[Any], Taken] = {}
        self.fetch_s = Histogram()
        self.decode_s = Histogram()
        self.prepare_s = Histogram()

    async def run(self, stream: Any) -> None:
        """The agent's body: every event gets a task of its own."""
        # noack: with Faust's own acks an event is acked also when its handler raised.
        stream = stream.noack()
        async for event in stream.events():
            ticket = await self._intake.take(stream, event)
            self._service.add_future(self._handle(ticket))

    def cancel_lost_events(self) -> None:
        """After a rebalance: stop the work on events that Kafka delivers again."""
        for task, ticket in list(self._tasks.items()):
            if not self._intake.is_current(ticket):
                task.cancel()

    async def _handle(self, ticket: Taken) -> None:
        if not self._intake.is_current(ticket):
            self._intake.drop(ticket)
            return
        task = asyncio.current_task()
        assert task is not None
        # Entered here, not where the task is made: one that is cancelled before its first step would
        # never come to give its place back.
        self._tasks[task] = ticket
        try:
            looked = await self._look(ticket)
            if looked is not None:
                await self._ready.put(looked)
        except asyncio.CancelledError:
            if not self._intake.is_current(ticket):
                self._intake.drop(ticket)
            raise
        finally:
            del self._tasks[task]

    async def _look(self, ticket: Taken) -> Looked | None:
        """Read the event and obtain its picture; None where the event has its outcome already."""
        delivery = ticket.payload
        try:
            event = read_event(delivery.value)
        except EventError as exc:
            await self._publisher.publish_dead_letter(
                delivery.source, delivery.key, delivery.value, delivery.headers, exc.reason, str(exc)
            )
            logger.warning("%s is a dead letter: %s", delivery.source, exc)
            await self._intake.ack(ticket, "dead letters")
            return None
        if not event.image_url:  # the picture was removed: there is nothing to look at
            await self._intake.ack(ticket, "pictures removed")
            return None
        admit = partial(self._intake.admit_picture, ticket)
        obtained = await self._source.obtain(event.image_url, admit=admit)
        self._note_times(obtained)
        if delivery.trace is not None:
            delivery.trace.obtained(obtained)
        return Looked(ticket, event, obtained)

    def _note_times(self, obtained: Obtained) -> None:
        if obtained.attempts:
            self.fetch_s.observe(obtained.fetch_s)
        if obtained.content is not None:
            self.decode_s.observe(obtained.decode_s)
        if obtained.picture is not None:
            self.prepare_s.observe(obtained.prepare_s)
