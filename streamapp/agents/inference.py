"""The second stage: shows the pictures to the models, publishes the rows, acks the events."""

import asyncio
import logging
import time

from streamapp.agents.download import Looked
from streamapp.agents.intake import Intake, Kind
from streamapp.agents.publish import Publisher
from streamapp.engine import Engine
from streamapp.errors import DeadLetterReason
from streamapp.histogram import Histogram
from streamapp.records import ResultRow

logger = logging.getLogger(__name__)


class InferenceStage:
    """Takes pictures off the queue of all partitions; the models' batchers fill their batches from them.

    Attributes:
        publish_s: from giving a row to the producer to the broker's having it.

    Args:
        ready: the bounded queue from the download stage.
    """

    def __init__(
        self,
        intake: Intake,
        engine: Engine,
        publisher: Publisher,
        ready: asyncio.Queue[Looked],
    ) -> None:
        self._intake = intake
        self._engine = engine
        self._publisher = publisher
        self._ready = ready
        self.publish_s = Histogram()

    async def run(self) -> None:
        """One of several loops that do the same: take, look, publish, ack."""
        while True:
            looked = await self._ready.get()
            if not self._intake.is_current(looked.ticket):
                self._intake.drop(looked.ticket)
                continue
            row = await self._judge(looked)
            if not self._intake.is_current(looked.ticket):
                self._intake.drop(looked.ticket)
                continue
            judged_s = time.monotonic()
            kind = await self._publish(looked, row)
            self.publish_s.observe(time.monotonic() - judged_s)
            await self._intake.ack(looked.ticket, kind, _reason(row) if kind == "rows" else None)

    async def _judge(self, looked: Looked) -> ResultRow:
        delivery = looked.ticket.payload
        if delivery.trace is not None:
            delivery.trace.judging()
        row = await self._engine.judge(
            looked.event,
            looked.obtained,
            source=delivery.source,
            received_at=delivery.received_at,
            started_s=delivery.started_s,
            trace=delivery.trace,
        )
        if delivery.trace is not None:
            delivery.trace.judged()
        return row

    async def _publish(self, looked: Looked, row: ResultRow) -> Kind:
        if await self._publisher.publish_row(row) or await self._publisher.publish_row(row.shortened()):
            return "rows"
        delivery = looked.ticket.payload
        message = "The result row is larger than the broker takes, even with its texts cut."
        await self._publisher.publish_dead_letter(
            delivery.source,
            delivery.key,
            delivery.value,
            delivery.headers,
            DeadLetterReason.ROW_TOO_LARGE,
            message,
        )
        logger.warning("%s is a dead letter: %s", delivery.source, message)
        return "dead letters"


def _reason(row: ResultRow) -> str | None:
    """Why a model has no verdict in this row; None where all have one."""
    reason: str | None = row.MODEL_ATTRIBUTES.PROVENANCE.get("reason")
    return reason
