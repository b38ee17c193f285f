"""Faust's Kafka consumer, with two of its waits mended (reference: faust-streaming 0.15.3)."""

import asyncio
import logging
from typing import Any

from faust.transport.drivers import aiokafka as faust_aiokafka

logger = logging.getLogger(__name__)


class BoundedConsumer(faust_aiokafka.Consumer):  # type: ignore[misc]  # Faust is untyped
    """Waits for events in flight only so long, acks only what has an outcome, commits before partitions go.

    Attributes:
        max_wait_empty_s: longest wait for events in flight when partitions are revoked or the worker
            stops. Faust waits for ever: one URL in its retries would outlast the rebalance, and Kafka
            would throw the worker out of the group.
    """

    mundane_level = "debug"
    max_wait_empty_s = 15.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._with_outcome: set[tuple[Any, int]] = set()

    def permit_ack(self, message: Any) -> None:
        """Note that the broker has the message's outcome: only then an ack of it counts."""
        self._with_outcome.add((message.tp, message.offset))

    def ack(self, message: Any) -> bool:
        """Ack a message that has an outcome, and no other.

        Faust acks a message by itself when it skips it after a rebalance, even with ``noack`` (in its pure
        Python stream): that one has no outcome here.
        """
        position = (message.tp, message.offset)
        if position not in self._with_outcome:
            self._unacked_messages.discard(message)
            return False
        self._with_outcome.remove(position)
        return bool(super().ack(message))

    async def wait_empty(self) -> None:
        """Wait until every event in flight is acked, or the time is up: then Kafka delivers it again."""
        # A task, not a timeout around it: Faust's wait swallows the one cancellation of a timeout.
        waiting = asyncio.ensure_future(super().wait_empty())
        try:
            done, _ = await asyncio.wait({waiting}, timeout=self.max_wait_empty_s)
            if not done:
                logger.warning(
                    "%d events could not be acked within %.1f s: they are given up here and delivered again.",
                    len(self._unacked_messages),
                    self.max_wait_empty_s,
                )
                # What Faust's wait looks at: it ends within a second and commits what is acked.
                self._unacked_messages.clear()
            await waiting
        finally:
            waiting.cancel()

    def refusal(self) -> BaseException | None:
        """Why the broker keeps the worker out of its group; aiokafka only logs it, and Faust waits on."""
        client = getattr(self._thread, "_consumer", None)
        coordinator: Any = getattr(client, "_coordinator", None)
        # Without a group, and before the start, there is a coordinator of another kind or none.
        membership = getattr(coordinator, "_coordination_task", None)
        if membership is None:
            return None
        if membership.done():
            return None if membership.cancelled() else membership.exception()
        return coordinator._pending_exception  # type: ignore[no-any-return]  # aiokafka is untyped

    async def on_partitions_revoked(self, revoked: Any) -> None:
        """Commit what is acked first: Faust forgets it otherwise, and those events come twice."""
        await self.commit()
        await super().on_partitions_revoked(revoked)
