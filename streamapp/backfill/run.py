"""A backfill at work: re-reads its ranges, judges, publishes, commits what is done."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack, aclosing, suppress
from datetime import UTC, datetime

from aiokafka import ConsumerRecord

from streamapp.agents.publish import Publisher
from streamapp.backfill.plan import Plan
from streamapp.backfill.selection import Selection
from streamapp.backfill.source import Source
from streamapp.engine import Engine
from streamapp.errors import BrokerError, DeadLetterReason, EventError
from streamapp.pace import Pace
from streamapp.records import Event, ResultRow, SourcePosition, read_event
from streamapp.settings import Settings
from streamapp.window import OffsetWindow, Ticket

logger = logging.getLogger(__name__)

COMMIT_EVERY_S = 1.0

ROW, REMOVED, TOO_LARGE = "rows", "pictures removed", "dead letters"
# A record that is no event is a dead letter since the worker took it: it gets no second one.
UNREADABLE = "unreadable"
NOT_CHOSEN = "not chosen"


class Backfill:
    """One run over one plan.

    The committed offset never passes an event without outcome, as the worker's (DESIGN §3): acks of the
    broker complete tickets of an offset window, and what leaves the window in order is committed.

    Attributes:
        outcomes: events that are done, by what came of them.
        reasons: rows without a verdict, by the reason.
        in_flight: events that are begun and have no outcome.
        is_complete: every event of the plan is done and committed.

    Args:
        selection: the events that are wanted; None: all.
        on_event: called for each event that is done.
    """

    def __init__(
        self,
        settings: Settings,
        plan: Plan,
        source: Source,
        engine: Engine,
        publisher: Publisher,
        *,
        pace: Pace,
        selection: Selection | None = None,
        on_event: Callable[[], None] = lambda: None,
    ) -> None:
        self._settings = settings
        self._plan = plan
        self._source = source
        self._engine = engine
        self._publisher = publisher
        self._pace = pace
        self._selection = selection
        self._on_event = on_event
        self._places = asyncio.Semaphore(settings.events_in_flight)
        self._picture_places = asyncio.Semaphore(settings.pictures_in_flight)
        self._room = asyncio.Event()
        self._window: OffsetWindow[int] = OffsetWindow()
        self._done = dict(plan.done)
        # Whoever begins the run has committed its plan.
        self._committed = dict(plan.done)
        self._reading: asyncio.Task[None] | None = None
        self._deadline = asyncio.timeout(None)
        self.in_flight = 0
        self.is_stopped = False
        self.is_complete = False
        self.outcomes: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()

    def stop(self) -> None:
        """Begin no more events, and give those in flight `drain_timeout_s`; called again: no more time."""
        grace_s = 0.0 if self.is_stopped else self._settings.drain_timeout_s
        self.is_stopped = True
        if self._reading is not None and not self._deadline.expired():
            self._reading.cancel()
            self._deadline.reschedule(asyncio.get_running_loop().time() + grace_s)

    async def run(self) -> None:
        """Do what is left of the plan, until it is done or `stop` is called.

        What is done is committed every second, and at the end, however the run ends.

        Raises:
            BrokerError: the broker stopped answering, refuses a row, or lost what was to be read.
            SettingsError: the broker refuses the login or the client certificate.
            BatchTimeoutError: a model hangs; the process must end.
        """
        try:
            self.is_complete = await self._work()
        except BaseException:
            with suppress(BrokerError):
                await self._commit()
            raise
        if self.is_complete:
            # A topic's last offsets may be gaps, which no event completes.
            self._done |= {number: whole.end for number, whole in self._plan.left.items()}
        await self._commit()

    async def _work(self) -> bool:
        """Read and wait for the events in flight; whether all of the plan is done."""
        try:
            async with self._deadline, asyncio.TaskGroup() as tasks:
                committing = tasks.create_task(self._commit_regularly())
                reading = self._reading = tasks.create_task(self._read(tasks))
                if self.is_stopped:
                    reading.cancel()
                await asyncio.wait({reading})
                # The group waits for the events in flight; what they add is committed at the end.
                committing.cancel()
        except ExceptionGroup as errors:
            # The others follow from the first.
            raise errors.exceptions[0] from None
        except TimeoutError:
            return False
        finally:
            # A stop that comes later finds nothing to end: only the last commit is left.
            self._reading = None
        return not reading.cancelled()

    async def _read(self, tasks: asyncio.TaskGroup) -> None:
        async with aclosing(self._source.records(self._plan.left)) as batches:
            async for records in batches:
                for record in records:
                    await self._begin(record, tasks)
                # With records at hand nothing here may have waited, and a signal must come through.
                await asyncio.sleep(0)

    async def _begin(self, record: ConsumerRecord, tasks: asyncio.TaskGroup) -> None:
        """Give the event a task of its own, once its turn has come and there is room for it."""
        while self._window.unacked >= self._settings.unacked_events:
            # Download and models have their time limits; a row waits for a broker that is away, and the
            # next commit or read ends the run meanwhile.
            self._room.clear()
            await self._room.wait()
        if self._selection is not None and not self._selection.has(record.partition, record.offset):
            self._finish(self._open(record), NOT_CHOSEN)
            return
        await self._pace.turn()
        await self._places.acquire()
        ticket = self._open(record)
        self.in_flight += 1
        tasks.create_task(self._handle(ticket, record))

    def _open(self, record: ConsumerRecord) -> Ticket[int]:
        # Without a group there is one generation: nobody takes a partition away.
        return self._window.open(record.partition, None, record.offset, record.partition)

    async def _handle(self, ticket: Ticket[int], record: ConsumerRecord) -> None:
        received_at, started_s = datetime.now(UTC), time.monotonic()
        position = SourcePosition(record.topic, record.partition, record.offset)
        try:
            event = read_event(record.value)
        except EventError as exc:
            logger.debug("%s is no event: %s", position, exc)
            return self._leave(ticket, UNREADABLE)
        if not event.image_url:
            return self._leave(ticket, REMOVED)
        row, outcome = await self._judge(event, record, position, received_at, started_s)
        self._leave(
            ticket, outcome, row.MODEL_ATTRIBUTES.PROVENANCE.get("reason") if outcome == ROW else None
        )

    async def _judge(
        self,
        event: Event,
        record: ConsumerRecord,
        position: SourcePosition,
        received_at: datetime,
        started_s: float,
    ) -> tuple[ResultRow, str]:
        async with AsyncExitStack() as held:

            async def admit() -> None:
                await held.enter_async_context(self._picture_places)

            obtained = await self._engine.source.obtain(event.image_url, admit=admit)
            row = await self._engine.judge(
                event, obtained, source=position, received_at=received_at, started_s=started_s
            )
            return row, await self._publish(row, record, position)

    async def _publish(self, row: ResultRow, record: ConsumerRecord, position: SourcePosition) -> str:
        publisher = self._publisher
        if await publisher.publish_row(row) or await publisher.publish_row(row.shortened()):
            return ROW
        await publisher.publish_dead_letter(
            position,
            record.key,
            record.value,
            list(record.headers),
            DeadLetterReason.ROW_TOO_LARGE,
            "The result row is larger than the broker takes, even with its texts cut.",
        )
        return TOO_LARGE

    def _leave(self, ticket: Ticket[int], outcome: str, reason: str | None = None) -> None:
        self.in_flight -= 1
        self._places.release()
        if reason is not None:
            self.reasons[reason] += 1
        self._finish(ticket, outcome)

    def _finish(self, ticket: Ticket[int], outcome: str) -> None:
        """Note that the event has its outcome, and up to where its partition is done by it."""
        self.outcomes[outcome] += 1
        for ready in self._window.complete(ticket):
            self._done[ready.payload] = ready.offset + 1
        self._room.set()
        self._on_event()

    async def _commit_regularly(self) -> None:
        while True:
            await asyncio.sleep(COMMIT_EVERY_S)
            await self._commit()

    async def _commit(self) -> None:
        """Commit what is done, if that is more than the last time.

        Always the offsets of all partitions: Kafka forgets each by its own age, and of a plan that is read
        back without some of them nobody would see that they are missing.
        """
        done = dict(self._done)
        if done != self._committed:
            await self._source.commit(done, self._plan)
            self._committed = done
