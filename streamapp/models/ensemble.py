"""All models of a worker: each frame goes to each network, each picture gets one outcome from each head."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from streamapp.errors import ModelError
from streamapp.media import Frame
from streamapp.models.base import Head, ModelInfo
from streamapp.models.runner import FrameResult, ModelRunner, PreparedFrame, as_model_error
from streamapp.policy import ModelOutcome
from streamapp.reasons import Reason, Status

if TYPE_CHECKING:
    from streamapp.spans import EventTrace

PreparedFrames = Sequence[Sequence[PreparedFrame]]
"""For each network, in the ensemble's order, each key frame prepared."""


@dataclass(frozen=True, slots=True)
class ModelReport:
    """What one model says of one picture, and what PROVENANCE says of the run.

    Attributes:
        outcome: status, duration and verdict.
        reason: why there is no verdict; None where there is one.
        detections: for each key frame what the model points at, as PROVENANCE has it.
        queue_s: longest wait of a frame for its batch.
        batch: frames in the largest batch that took part; 0 where none ran.
        error: what the model raised; None where it did not.
    """

    name: str
    info: ModelInfo
    outcome: ModelOutcome
    reason: Reason | None
    detections: Sequence[Sequence[Mapping[str, Any]]]
    queue_s: float
    batch: int
    error: ModelError | None = None


class Ensemble:
    """The networks of the models that are switched on. An async context manager.

    Attributes:
        runners: one for each network.
    """

    def __init__(self, runners: Sequence[ModelRunner]) -> None:
        self.runners = tuple(runners)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as opened:
            for runner in self.runners:
                await opened.enter_async_context(runner)
            self._stack = opened.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, exc, trace)

    def prepare(self, frames: Sequence[Frame]) -> PreparedFrames:
        """Prepare the frames of one picture for every network; called on the CPU threads.

        All networks in one job, right after decoding: a job for each frame and network would cost the
        event loop more than its share, and the frames' pixels can go.
        """
        return [[runner.prepare(frame) for frame in frames] for runner in self.runners]

    async def look(self, prepared: PreparedFrames, trace: "EventTrace | None" = None) -> list[ModelReport]:
        """Show the frames of one picture to every model.

        Args:
            trace: the event's span, for the batches' spans; None where it has none.

        Raises:
            BatchTimeoutError: a model hangs; the worker must end.
            DeviceLostError: a model fails on whatever it is given; likewise.
            BatcherClosedError: the ensemble was closed meanwhile.
        """
        flat = await asyncio.gather(
            *(
                runner.look(frame, trace)
                for runner, frames in zip(self.runners, prepared, strict=True)
                for frame in frames
            )
        )
        count = len(flat) // len(prepared) if prepared else 0
        rows = [flat[start : start + count] for start in range(0, len(flat), count or 1)]
        findings: dict[str, Sequence[Any]] = {}
        for runner, row in zip(self.runners, rows, strict=True):
            if _first_error(row) is None:
                parts = [runner.network.split(result.finding) for result in row]
                findings |= {head.name: [part[head.name] for part in parts] for head in runner.network.heads}
        return [
            _report(head, row, findings)
            for runner, row in zip(self.runners, rows, strict=True)
            for head in runner.network.heads
        ]

    def failed(self, reason: Reason) -> list[ModelReport]:
        """The reports on a picture of which no model saw a frame."""
        return [_failure(head, reason) for runner in self.runners for head in runner.network.heads]


def _first_error(results: Sequence[FrameResult]) -> ModelError | None:
    return next((result.error for result in results if result.error is not None), None)


def _report(
    model: Head, results: Sequence[FrameResult], findings: Mapping[str, Sequence[Any]]
) -> ModelReport:
    """Judge one picture by one model; a `judge` or `describe` that raises is a model that raised."""
    error = _first_error(results)
    if error is None:
        try:
            verdict = model.judge(findings)
            described = [model.describe(finding) for finding in findings[model.name]]
        except Exception as exc:
            error = as_model_error(exc)
    if error is not None:
        report = replace(_failure(model, error.reason), error=error)
    else:
        duration_s = max(result.work_s for result in results)
        outcome = ModelOutcome(model.prefix, model.moderates, Status.PREDICTED, duration_s, verdict)
        report = ModelReport(model.name, model.info, outcome, None, described, 0.0, 0)
    return replace(
        report,
        queue_s=max(result.queue_s for result in results),
        batch=max(result.batch for result in results),
    )


def _failure(model: Head, reason: Reason) -> ModelReport:
    outcome = ModelOutcome(model.prefix, model.moderates, reason.status, 0.0, None)
    return ModelReport(model.name, model.info, outcome, reason, (), 0.0, 0)
