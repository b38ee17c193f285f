"""Faust's Kafka consumer, with two of its waits mended (reference: faust-streaming 0.15.3)."""

import asyncio
import logging
from typing import Any

from faust.transport.drivers import aiokafka as faust_aiokafka

logger = logging.getLogger(__name__)


class BoundedConsumer(faust_aiokafka.Consumer):  # type: ignore[misc]  # Faust is untyped
    """Waits for events in flight only so long, and commits acks before partitions go.

    Attributes:
        max_wait_empty_s: longest wait for events in flight when partitions are revoked or the worker
            stops. Faust waits for ever: one URL in its retries would outlast the rebalance, and Kafka
            would throw the worker out of the group.
    """

    mundane_level = "debug"
    max_wait_empty_s = 15.0

    async def wait_empty(self) -> None:
        """Wait until every event in flight is acked, or the time is up: then Kafka delivers it again."""
        try:
            async with asyncio.timeout(self.max_wait_empty_s):
                await super().wait_empty()
        except TimeoutError:
            logger.warning(
                "%d events had no outcome after %.0f s: they are given up here and delivered again.",
                len(self._unacked_messages),
                self.max_wait_empty_s,
            )
            self._unacked_messages.clear()
            await self.commit_and_end_transactions()

    async def on_partitions_revoked(self, revoked: Any) -> None:
        """Commit what is acked first: Faust forgets it otherwise, and those events come twice."""
        await self.commit()
        await super().on_partitions_revoked(revoked)
