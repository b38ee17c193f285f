"""Runs one network: infer in batches on its own threads, prepare and finish on the CPU threads."""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from streamapp.batching import (
    BatcherClosedError,
    BatchTimeoutError,
    DeviceLostError,
    MicroBatcher,
    Outcome,
)
from streamapp.errors import ModelError
from streamapp.histogram import Histogram
from streamapp.media import Frame
from streamapp.models.base import AnyNetwork
from streamapp.models.lanes import Lanes
from streamapp.reasons import Reason

if TYPE_CHECKING:
    from streamapp.spans import EventTrace

Finishing = tuple[asyncio.Future[list[Any]], int]
Queued = tuple[Any, "EventTrace | None"]


@dataclass(frozen=True, slots=True)
class PreparedFrame:
    """A frame as one network takes it, or the error of preparing it."""

    prepared: Any
    error: ModelError | None
    prepare_s: float


@dataclass(frozen=True, slots=True)
class FrameResult:
    """What one network found in one frame: a finding, or the error that it met.

    Attributes:
        work_s: seconds of preparing, running the batch and finishing, without the wait.
        queue_s: seconds that the frame waited for its batch.
        batch: frames in the batch that decided it; 0 where none ran.
    """

    finding: Any
    error: ModelError | None
    work_s: float
    queue_s: float
    batch: int


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """How a worker runs one network.

    Attributes:
        make: makes one instance; opens no file.
        instances: instances in the worker, each with threads of its own.
        max_queued: frames that wait for the network before submitters wait.
    """

    make: Callable[[], AnyNetwork]
    instances: int = 1
    max_queued: int = 64


class ModelRunner:
    """One network of the worker: its instances, each with threads of its own, behind one batcher.

    An async context manager: entering loads and warms up every instance, leaving drains the batcher.

    Attributes:
        lanes: the threads, with what they have counted and measured.

    Args:
        make_network: makes one instance; called `instances` times.
        cpu: the threads for `finish`; what else they do counts towards `timeout_s`.
        max_queued: prepared frames that may wait for a batch before submitters wait.
        max_wait_s: longest wait of a frame for others to fill its batch.
        timeout_s: longest time for one batch.
    """

    def __init__(
        self,
        make_network: Callable[[], AnyNetwork],
        cpu: Executor,
        *,
        instances: int,
        max_queued: int,
        max_wait_s: float,
        timeout_s: float,
    ) -> None:
        self.lanes = Lanes(make_network, instances)
        self._cpu = cpu
        self._timeout_s = timeout_s
        self._batcher: MicroBatcher[Queued, Finishing] = MicroBatcher(
            self._infer,
            sizes=self.network.batch_sizes,
            max_wait_s=max_wait_s,
            max_queued=max_queued,
            timeout_s=timeout_s,
            slots=len(self.lanes),
        )
        self._stack = AsyncExitStack()

    @property
    def network(self) -> AnyNetwork:
        """The first instance: its name and its heads stand for all."""
        return self.lanes.networks[0]

    @property
    def queue_s(self) -> Histogram:
        """How long frames waited for their batch."""
        return self._batcher.queue_s

    @property
    def queued(self) -> int:
        """Frames that wait for a batch."""
        return self._batcher.queued

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as opened:
            opened.callback(self.lanes.end)
            await self.lanes.load_and_warm_up()
            await opened.enter_async_context(self._batcher)
            self._stack = opened.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, exc, trace)

    def prepare(self, frame: Frame) -> PreparedFrame:
        """Prepare one frame for this network; called on the CPU threads. An error is a value."""
        started_at = time.perf_counter()
        prepared, error = None, None
        try:
            prepared = self.network.prepare(frame)
        except Exception as exc:
            error = as_model_error(exc)
        return PreparedFrame(prepared, error, time.perf_counter() - started_at)

    async def look(self, frame: PreparedFrame, trace: "EventTrace | None" = None) -> FrameResult:
        """Find what this network finds in a frame; an error is a value, never raised.

        Args:
            trace: the span of the frame's event, for the batch's span; None where it has none.

        Raises:
            BatchTimeoutError: the network hangs; the worker must end.
            DeviceLostError: the network fails on whatever it is given; likewise.
            BatcherClosedError: the runner was closed meanwhile.
        """
        if frame.error is not None:
            return FrameResult(None, frame.error, frame.prepare_s, 0.0, 0)
        started_at = time.perf_counter()
        queue_s, batch = 0.0, 0
        finding, error = None, None
        try:
            # 1. Infer in a batch with frames of other events.
            outcome: Outcome[Finishing] = await self._batcher.submit((frame.prepared, trace))
            queue_s, batch = outcome.queue_s, outcome.batch
            if outcome.answer is None:
                raise outcome.error or RuntimeError("An outcome without answer and error. This is a bug.")
            # 2. Finish on the CPU threads, so that the network's own thread goes on at once.
            finding = await self._finished(*outcome.answer)
        except BatchTimeoutError as exc:
            # The worker ends with this: say which of its networks it was.
            raise BatchTimeoutError(f"{self.network.name} hangs: {exc}") from exc
        except (BatcherClosedError, DeviceLostError):
            raise
        except Exception as exc:
            finding, error = None, as_model_error(exc)
        work_s = frame.prepare_s + time.perf_counter() - started_at - queue_s
        return FrameResult(finding, error, work_s, queue_s, batch)

    async def _finished(self, finishing: asyncio.Future[list[Any]], position: int) -> Any:
        try:
            async with asyncio.timeout(self._timeout_s):
                findings = await asyncio.shield(finishing)
        except TimeoutError as exc:
            overdue = f"What a batch found was not finished in {self._timeout_s} s."
            raise BatchTimeoutError(overdue) from exc
        if isinstance(findings[position], Exception):
            raise findings[position]
        return findings[position]

    async def _infer(self, batch: list[Queued]) -> list[Finishing]:
        """Run one batch on a free lane; the batcher has as many slots as there are lanes.

        The batch is finished as a whole, in one job of the CPU threads, after the slot is free again:
        an answer is that job's future and the frame's position in it.
        """
        frames, traces = [frame for frame, _ in batch], [trace for _, trace in batch]
        started_ns = time.time_ns()
        try:
            network, raws = await self.lanes.infer(frames)
        except Exception as exc:
            self._trace_batch(traces, started_ns, exc)
            raise
        finishing = asyncio.get_running_loop().run_in_executor(self._cpu, _finish, network, raws, frames)
        self._trace_batch(traces, started_ns, None)
        return [(finishing, position) for position in range(len(batch))]

    def _trace_batch(
        self, traces: Sequence["EventTrace | None"], started_ns: int, error: Exception | None
    ) -> None:
        """Give a batch that is over a span, where any of its events has one."""
        traced = next((trace for trace in traces if trace is not None), None)
        if traced is not None:
            traced.tracing.record_batch(self.network.name, traces, started_ns, error)


def _finish(network: AnyNetwork, raws: Sequence[Any], batch: Sequence[Any]) -> list[Any]:
    """Finish a batch's answers; one that can't be finished is an error in its place, and no other's."""
    findings: list[Any] = []
    for raw, prepared in zip(raws, batch, strict=True):
        try:
            findings.append(network.finish(raw, prepared))
        except Exception as exc:
            findings.append(exc)
    return findings


def as_model_error(exc: Exception) -> ModelError:
    """Translate whatever a model raised, with its cause."""
    if isinstance(exc, ModelError):
        return exc
    error = ModelError(Reason.MODEL_RAISED, f"{type(exc).__name__}: {exc}")
    error.__cause__ = exc
    return error
