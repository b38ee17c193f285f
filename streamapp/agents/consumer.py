"""Faust's Kafka consumer, with its waits and its end mended (reference: faust-streaming 0.15.3)."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping
from typing import Any

from aiokafka.consumer.fetcher import OffsetResetStrategy
from aiokafka.errors import KafkaConnectionError, KafkaError
from faust.transport.drivers import aiokafka as faust_aiokafka

from streamapp.agents.coordinator import guard_offsets

logger = logging.getLogger(__name__)

COMMIT_RETRY_S = 0.1
CONNECT_RETRY_S = 1.0


class ConsumerThread(faust_aiokafka.AIOKafkaConsumerThread):  # type: ignore[misc]  # Faust is untyped
    """Seeks every partition; starts and ends while the broker is away, too."""

    async def seek_to_committed(self) -> Mapping[Any, int]:
        """Seek all partitions to where they are committed; to their beginning, as 0, where nothing is.

        aiokafka leaves the latter where they are: behind the records of a fetch that is thrown away. Faust
        passes them over, and would keep what a refused commit left as their committed offset.
        """
        offsets: Mapping[Any, int] = await self.call_thread(self._seek_all)
        return offsets

    async def _seek_all(self) -> Mapping[Any, int]:
        consumer = self._ensure_consumer()
        if not consumer.assignment():
            return {}
        offsets: Mapping[Any, int | None] = await consumer.seek_to_committed()
        fresh = [tp for tp, offset in offsets.items() if not offset and tp in consumer.assignment()]
        # Not `seek_to_beginning`, which would wait for partitions that have no leader.
        consumer._fetcher.request_offset_reset(fresh, OffsetResetStrategy.EARLIEST)
        return {tp: offset or 0 for tp, offset in offsets.items()}

    async def on_start(self) -> None:
        """Start aiokafka's consumer, with its offsets guarded.

        The broker was there a moment ago; where it has gone since it is waited for, as everywhere else.
        """
        while not self.should_stop:
            try:
                await super().on_start()
            except KafkaConnectionError as exc:
                logger.warning("The broker has gone before the worker could join its group: %r. Again.", exc)
                await self._consumer.stop()
                await self.sleep(CONNECT_RETRY_S)
            else:
                guard_offsets(self._consumer._coordinator)
                return

    async def on_thread_stop(self) -> None:
        """Close aiokafka's consumer, whatever its fetches are at (see `streamapp.reading.stop_consumer`).

        No cancellation goes on from here: Faust would never learn that its thread has ended.
        """
        try:
            await super().on_thread_stop()
        except asyncio.CancelledError:
            await self._consumer._client.close()

    def close(self) -> None:
        """Close aiokafka's client, as Faust does in a rebalance that meets the worker's end.

        On its own loop: Faust does it on the app's, in another thread, and uvloop crashed by it (SIGSEGV).
        """
        if self._consumer is not None and not self.thread_loop.is_closed():
            self._consumer._closed = True
            asyncio.run_coroutine_threadsafe(self._consumer._client.close(), self.thread_loop)


class BoundedConsumer(faust_aiokafka.Consumer):  # type: ignore[misc]  # Faust is untyped
    """Waits for events in flight only so long, acks only what has an outcome, commits before partitions go.

    Attributes:
        max_wait_empty_s: longest wait for events in flight when partitions are revoked or the worker
            stops. Faust waits for ever: one URL in its retries would outlast the rebalance, and Kafka
            would throw the worker out of the group.
        last_commit_s: longest wait, after those that did not end were given up, for the commit of what is
            acked; Faust's wait notices within a second that it is over.
        last_commit_at: Unix time of the last commit that the broker took; of the start before the first.
        is_rebalancing: from a revocation on until the assignment that follows it.
    """

    mundane_level = "debug"
    max_wait_empty_s = 15.0
    last_commit_s = 3.0
    is_rebalancing = False
    _takes_acks = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._with_outcome: set[tuple[Any, int]] = set()
        self._seeks_wanted = 0
        self._seeks_done = 0
        self.last_commit_at = time.time()

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def perform_seek(self) -> None:
        """Have all partitions sought where they are committed before anything else is fetched.

        Not at once: Faust's recovery takes a broker that is long in answering for its own end, and then no
        assignment is ever read again.
        """
        self._seeks_wanted += 1

    async def _getmany(self, active_partitions: Any, timeout: float) -> Any:
        """Seek, where that is wanted; else fetch records; none of a fetch that a rebalance came into.

        Faust starts to read where a partition is committed, but takes what such a fetch still brings: records
        from further on. It holds those before them for a gap in the topic, acks them, and drops them when
        they come: a chaos round lost 63 events by it (0.15.3).
        """
        wanted = self._seeks_wanted
        if self._seeks_done != wanted:
            try:
                await super().perform_seek()
                self._seeks_done = wanted
            except (KafkaError, TimeoutError) as exc:
                logger.warning("The partitions can't be sought where they are committed: %r. Again.", exc)
                await asyncio.sleep(COMMIT_RETRY_S)
            return {}
        records = await super()._getmany(active_partitions, timeout)
        if records and (self._seeks_wanted != wanted or not self.flow_active):
            # Some may be from the right place; none of the new assignment is on its way through the worker.
            await self.perform_seek()
            return {}
        return records

    def permit_ack(self, message: Any) -> None:
        """Note that the broker has the message's outcome: only then an ack of it counts."""
        self._with_outcome.add((message.tp, message.offset))

    def ack(self, message: Any) -> bool:
        """Ack a message that has an outcome, and no other; nor any between two assignments.

        Faust acks a message by itself when it skips it after a rebalance, even with ``noack`` (in its pure
        Python stream): that one has no outcome here.
        """
        position = (message.tp, message.offset)
        has_outcome = position in self._with_outcome
        self._with_outcome.discard(position)
        if not has_outcome or not self._takes_acks:
            self._unacked_messages.discard(message)
            return False
        return bool(super().ack(message))

    async def wait_empty(self) -> None:
        """Wait until every event in flight is acked, or the time is up: then Kafka delivers it again."""
        # A task, not a timeout around it: Faust's wait swallows the one cancellation of a timeout.
        waiting = asyncio.ensure_future(super().wait_empty())
        try:
            done, _ = await asyncio.wait({waiting}, timeout=self.max_wait_empty_s)
            if not done:
                self._give_up()
                done, _ = await asyncio.wait({waiting}, timeout=self.last_commit_s)
            if done:
                await waiting
            else:
                # A commit ends only when the broker answers.
                logger.warning("What is acked could not be committed: those events are delivered again.")
        finally:
            waiting.cancel()

    def _give_up(self) -> None:
        """Wait for no event any more."""
        if self._unacked_messages:
            logger.warning(
                "%d events could not be acked within %.1f s: they are given up here and delivered again.",
                len(self._unacked_messages),
                self.max_wait_empty_s,
            )
        # What Faust's wait looks at: it ends within a second and commits what is acked.
        self._unacked_messages.clear()

    def refusal(self) -> BaseException | None:
        """Why the broker keeps the worker out of its group; aiokafka only logs it, and Faust waits on."""
        coordinator = self._coordinator()
        # Without a group, and before the start, there is a coordinator of another kind or none.
        membership = getattr(coordinator, "_coordination_task", None)
        if membership is None:
            return None
        if membership.done():
            return None if membership.cancelled() else membership.exception()
        return coordinator._pending_exception  # type: ignore[no-any-return]  # aiokafka is untyped

    @property
    def has_broker(self) -> bool:
        """Whether the group's coordinator answers; aiokafka drops it when a heartbeat fails. Any thread."""
        return getattr(self._coordinator(), "coordinator_id", None) is not None

    @property
    def partitions(self) -> int | None:
        """Partitions assigned to this worker; None before it has joined its group. From any thread."""
        coordinator = self._coordinator()
        if getattr(coordinator, "generation", -1) < 0:
            return None
        return len(self.assignment())

    def lags(self) -> Mapping[Any, int]:
        """Partition → events that are in it and not committed. From any thread.

        A partition is left out until both ends are known: something was fetched from it, and it has a
        committed offset or nothing in it.
        """
        lags = {}
        for tp in self.assignment() if self.partitions else ():
            # One that is taken away at this moment.
            with contextlib.suppress(AssertionError, AttributeError, KeyError):
                end, committed = self.highwater(tp), self._committed_offset.get(tp)
                if end is not None and (committed is not None or end == 0):
                    lags[tp] = max(0, end - (committed or 0))
        return lags

    def _coordinator(self) -> Any:
        return getattr(getattr(self._thread, "_consumer", None), "_coordinator", None)

    async def _commit(self, offsets: Any) -> bool:
        """Commit, and note when the broker took it."""
        is_committed = bool(await super()._commit(offsets))
        if is_committed:
            self.last_commit_at = time.time()
        return is_committed

    async def commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Commit what is acked by now. Faust's own only waits where a commit is under way already.

        That one has not the acks that came since it began: the last ones before a rebalance, in particular.
        """
        while await self.maybe_wait_for_commit_to_finish():
            continue
        return bool(await super().commit(topics, start_new_transaction))

    def _new_offset(self, tp: Any) -> int | None:
        """What to commit of a partition: one past its last ack, for acks come in offset order.

        So no gap in the topic needs to be known. Faust misses one behind offset 0, and never commits again
        (0.15.3); of what retention took it lists each offset.
        """
        acked, self._acked[tp] = self._acked[tp], []
        self._acked_index[tp].clear()
        return max(acked) + 1 if acked else None

    async def _add_gap(self, tp: Any, offset_from: int, offset_to: int) -> None:
        """Note no gap: none is asked for."""

    async def on_partitions_revoked(self, revoked: Any) -> None:
        """Commit what is acked first: Faust forgets it otherwise, and those events come twice.

        1. Take no further events, as Faust does a moment later. 2. Commit until no ack is left: more come
        while a commit is on its way. 3. Let Faust forget them, and wait for the events in flight. 4. Forget
        what was not committed by now, and take no ack until the next assignment: a commit while the group
        joins is refused and breaks up the join, one after it may go back behind what others committed.
        """
        # 1.
        self.is_rebalancing = True
        self.stop_flow()
        self.app.flow_control.suspend()
        self.app.flow_control.clear()
        # 2. Nothing may be awaited between the last look and Faust's forgetting.
        give_up_at = time.monotonic() + self.max_wait_empty_s
        while any(self._acked.get(tp) for tp in revoked) and time.monotonic() < give_up_at:
            if not await self.commit():
                await asyncio.sleep(COMMIT_RETRY_S)
        # 3.
        await super().on_partitions_revoked(revoked)
        # 4.
        self._takes_acks = False
        self._acked.clear()
        self._acked_index.clear()

    async def on_partitions_assigned(self, assigned: Any, generation_id: int = 0) -> None:
        """Take over, and take acks again: those of before count no more (`Intake.begin_epoch`)."""
        try:
            await super().on_partitions_assigned(assigned, generation_id)
        finally:
            self._takes_acks = True
            self.is_rebalancing = False

    def resume_flow(self) -> None:
        """Take events again; not at the word of an assignment that a revocation has overtaken."""
        if not self.is_rebalancing:
            super().resume_flow()

    def verify_event_path(self, now: float, tp: Any) -> None:
        """Let Faust look for a partition that stands still; for none whose position is not known yet."""
        with contextlib.suppress(AssertionError, AttributeError):
            super().verify_event_path(now, tp)
