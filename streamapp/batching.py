"""The micro-batcher: single items in, batches run, single outcomes back.

Pure asyncio; knows nothing of Kafka or torch. Owned by the event loop's thread.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, Self, TypeVar

from streamapp.histogram import Histogram

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class BatchTimeoutError(Exception):
    """A batch did not come back in time; whatever ran it may hang for ever."""


class DeviceLostError(Exception):
    """What runs the batches is of no use any more: repeating them, or other ones, would not help."""


class BatcherClosedError(Exception):
    """The batcher was closed before the item's batch had run."""


@dataclass(frozen=True, slots=True)
class Outcome(Generic[Answer]):
    """What became of one item: exactly one of `answer` and `error` counts.

    Attributes:
        queue_s: seconds from submission to the start of its batch.
        run_s: seconds that its batch ran, repeats after a split included.
        batch: items in the run that decided it.
    """

    answer: Answer | None
    error: Exception | None
    queue_s: float
    run_s: float
    batch: int


class _Entry(Generic[Item, Answer]):
    __slots__ = ("future", "item", "submitted_at")

    def __init__(self, item: Item, loop: asyncio.AbstractEventLoop) -> None:
        self.item = item
        self.submitted_at = loop.time()
        self.future: asyncio.Future[Outcome[Answer]] = loop.create_future()


class MicroBatcher(Generic[Item, Answer]):
    """Forms batches out of items that arrive one by one.

    1. A run slot is reserved first, so that items which arrive while all slots are busy join the batch.
    2. The batch closes when the largest size is reached, or when its oldest item has waited `max_wait_s`.
    3. Of what waits then, the largest allowed size runs at once; the rest leads the next batch.
    4. A run that raises is repeated in halves until the culprit stands alone; only it gets the error.
       DeviceLostError is every item's that has no outcome yet, and nothing is run any more.

    Attributes:
        queue_s: how long items waited for the start of their batch.

    Args:
        run: runs one batch, as many answers as items, in their order.
        sizes: the allowed batch sizes, ascending, starting with 1.
        max_wait_s: longest wait of an item for others to join it.
        max_queued: items that may wait for a batch; further submitters wait themselves.
        slots: batches that run at the same time.
        timeout_s: longest time for one run; after it every item of the batch gets a BatchTimeoutError.
    """

    def __init__(
        self,
        run: Callable[[list[Item]], Awaitable[Sequence[Answer]]],
        *,
        sizes: Sequence[int],
        max_wait_s: float,
        max_queued: int,
        timeout_s: float,
        slots: int = 1,
    ) -> None:
        if not sizes or sizes[0] != 1 or list(sizes) != sorted(set(sizes)):
            raise ValueError(f"Batch sizes must ascend from 1, not {tuple(sizes)}.")
        self._run = run
        self._sizes = tuple(sizes)
        self._max_wait_s = max_wait_s
        self._timeout_s = timeout_s
        self._places = asyncio.Semaphore(max_queued)
        self._slots = asyncio.Semaphore(slots)
        self._queue: deque[_Entry[Item, Answer]] = deque()
        self._arrival = asyncio.Event()
        self._running: set[asyncio.Task[None]] = set()
        self._former: asyncio.Task[None] | None = None
        self._is_closing = False
        self._is_hung = False
        self._lost: DeviceLostError | None = None
        self.queue_s = Histogram()

    async def __aenter__(self) -> Self:
        self._former = asyncio.create_task(self._form_batches(), name="micro-batcher")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close(timeout_s=self._timeout_s if exc is None and not self._is_hung else 0.0)

    @property
    def queued(self) -> int:
        """Items that wait for a batch."""
        return len(self._queue)

    async def submit(self, item: Item) -> Outcome[Answer]:
        """Queue one item and wait for what becomes of it.

        Cancelling the call takes an item that has not started out of the queue.

        Raises:
            BatcherClosedError: the batcher is closed, or was before the item's turn came.
        """
        entry: _Entry[Item, Answer] = _Entry(item, asyncio.get_running_loop())
        await self._places.acquire()
        if self._is_closing or self._former is None:
            self._places.release()
            raise BatcherClosedError("The batcher is not open.")
        self._queue.append(entry)
        if len(self._queue) in (1, self._sizes[-1]):  # arrivals between do not change what forms
            self._arrival.set()
        try:
            return await entry.future
        finally:
            # Still waiting only if this call was cancelled: an item that runs has left the queue.
            if entry.future.cancelled() and entry in self._queue:
                self._queue.remove(entry)
                self._places.release()

    async def close(self, *, timeout_s: float) -> None:
        """Run what is queued, without waiting for company; after `timeout_s` give up on the rest."""
        if self._former is None:
            return
        self._is_closing = True
        self._arrival.set()
        await asyncio.wait({self._former, *self._running}, timeout=timeout_s)
        if self._running:
            await asyncio.wait(self._running, timeout=timeout_s)
        for task in {self._former, *self._running}:
            task.cancel()
        await asyncio.gather(self._former, *self._running, return_exceptions=True)
        self._former = None
        for entry in self._take(len(self._queue)):
            if not entry.future.done():
                entry.future.set_exception(BatcherClosedError("The batcher closed before the item's turn."))

    async def _form_batches(self) -> None:
        while True:
            await self._slots.acquire()
            batch = await self._collect()
            if not batch:
                return
            task = asyncio.create_task(self._settle(batch), name="micro-batch")
            self._running.add(task)
            task.add_done_callback(self._on_settled)

    def _on_settled(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._slots.release()

    async def _collect(self) -> list[_Entry[Item, Answer]]:
        """Wait for the next batch; empty when the batcher is closing and nothing is left."""
        while True:
            if self._is_closing or len(self._queue) >= self._sizes[-1]:
                break
            self._arrival.clear()
            closes_at = self._queue[0].submitted_at + self._max_wait_s if self._queue else None
            try:
                async with asyncio.timeout_at(closes_at):
                    await self._arrival.wait()
            except TimeoutError:
                if self._queue:  # else its items were cancelled while they waited
                    break
        return self._take(max((size for size in self._sizes if size <= len(self._queue)), default=0))

    def _take(self, count: int) -> list[_Entry[Item, Answer]]:
        entries = [self._queue.popleft() for _ in range(count)]
        for _ in entries:
            self._places.release()
        return entries

    async def _settle(self, batch: list[_Entry[Item, Answer]]) -> None:
        """Run a batch and give each of its entries its one outcome."""
        started_at = asyncio.get_running_loop().time()
        try:
            await self._run_or_split(batch, started_at)
        finally:
            for entry in batch:
                if not entry.future.done():
                    entry.future.set_exception(BatcherClosedError("The batch was given up."))

    async def _run_or_split(self, batch: list[_Entry[Item, Answer]], started_at: float) -> None:
        if self._lost is not None:
            self._resolve(batch, [None] * len(batch), self._lost, started_at)
            return
        try:
            async with asyncio.timeout(self._timeout_s) as limit:
                answers = await self._run([entry.item for entry in batch])
            if len(answers) != len(batch):
                raise RuntimeError(f"A batch of {len(batch)} came back as {len(answers)}. This is a bug.")
        except Exception as exc:
            if limit.expired():
                self._is_hung = True
                overdue = f"A batch of {len(batch)} did not come back in {self._timeout_s} s."
                self._resolve(batch, [None] * len(batch), BatchTimeoutError(overdue), started_at)
            elif isinstance(exc, DeviceLostError):
                self._lost = exc
                self._resolve(batch, [None] * len(batch), exc, started_at)
            elif len(batch) == 1:
                self._resolve(batch, [None] * len(batch), exc, started_at)
            else:
                for part in self._halves(batch):
                    await self._run_or_split(part, started_at)
        else:
            self._resolve(batch, answers, None, started_at)

    def _halves(self, batch: list[_Entry[Item, Answer]]) -> list[list[_Entry[Item, Answer]]]:
        """Cut a batch into parts of allowed sizes, none larger than half of it."""
        parts = []
        start = 0
        while start < len(batch):
            limit = min(max(1, len(batch) // 2), len(batch) - start)
            size = max(size for size in self._sizes if size <= limit)
            parts.append(batch[start : start + size])
            start += size
        return parts

    def _resolve(
        self,
        batch: list[_Entry[Item, Answer]],
        answers: Sequence[Answer | None],
        error: Exception | None,
        started_at: float,
    ) -> None:
        run_s = asyncio.get_running_loop().time() - started_at
        for entry, answer in zip(batch, answers, strict=True):
            if not entry.future.done():
                queue_s = max(0.0, started_at - entry.submitted_at)
                self.queue_s.observe(queue_s)
                entry.future.set_result(Outcome(answer, error, queue_s, run_s, len(batch)))
