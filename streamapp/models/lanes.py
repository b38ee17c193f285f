"""The threads that run a network's batches, what they are at, and whether their device still works."""

import asyncio
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from streamapp.batching import DeviceLostError
from streamapp.histogram import BATCH_FRAMES, Histogram
from streamapp.models.base import AnyNetwork


class Lanes:
    """The instances of one network, each with as many threads as may call its `infer` at the same time.

    Owned by the event loop's thread.

    Args:
        make_network: makes one instance; called `instances` times.

    Attributes:
        networks: the instances.
        batch_s: how long batches ran on their thread, those that raised left out.
        batch_frames: frames in them.
        failed_batches: runs that raised.
    """

    def __init__(self, make_network: Callable[[], AnyNetwork], instances: int) -> None:
        self.networks = [make_network() for _ in range(instances)]
        lanes = [network for network in self.networks for _ in range(network.lanes)]
        self._free = [
            (network, ThreadPoolExecutor(1, thread_name_prefix=f"{network.name}-{index}"))
            for index, network in enumerate(lanes)
        ]
        self._threads = [thread for _, thread in self._free]
        # Thread → since when it runs a batch. Each thread writes its own entry alone.
        self._running_since: dict[int, float] = {}
        self.batch_s = Histogram()
        self.batch_frames = Histogram(BATCH_FRAMES)
        self.failed_batches = 0

    def __len__(self) -> int:
        """Batches that can run at the same time."""
        return len(self._threads)

    @property
    def running_s(self) -> float:
        """Seconds that the longest of the batches that run now has run, 0 without one. From any thread."""
        since = list(self._running_since.values())
        return time.perf_counter() - min(since) if since else 0.0

    async def load_and_warm_up(self) -> None:
        """Load every instance on its first thread, and warm it up on each."""
        loop = asyncio.get_running_loop()
        for index, (network, thread) in enumerate(self._free):
            if index % network.lanes == 0:
                await loop.run_in_executor(thread, _load, network)
            # Every lane: streams, buffers and workspaces are a thread's own, and are made in its first runs.
            await loop.run_in_executor(thread, network.warm_up)

    async def infer(self, batch: list[Any]) -> tuple[AnyNetwork, Sequence[Any]]:
        """Run one batch on a free lane; the caller runs no more at the same time than there are.

        A frame that fails alone is about to be blamed. So the network is tried on a frame of its own before:
        a lost device fails on everything, and no picture is to answer for it.

        Returns:
            The instance and its answers, as many as there are frames.

        Raises:
            DeviceLostError: the network fails on its own frame too.
            Exception: whatever it raised on this batch.
        """
        lane = self._free.pop()
        network, thread = lane
        loop = asyncio.get_running_loop()
        try:
            raws, batch_s = await loop.run_in_executor(thread, self._timed, network, batch)
        except Exception as exc:
            self.failed_batches += 1
            if len(batch) == 1:
                await loop.run_in_executor(thread, _try_out, network, exc)
            raise
        finally:
            self._free.append(lane)
        self.batch_s.observe(batch_s)
        self.batch_frames.observe(len(batch))
        if len(raws) != len(batch):
            raise RuntimeError(f"{network.name} answered {len(raws)} of {len(batch)} frames. This is a bug.")
        return network, raws

    def end(self) -> None:
        """Let the threads go when they are done."""
        for thread in self._threads:
            # A hung network's thread can't be ended; the process ends by itself (BatchTimeoutError).
            thread.shutdown(wait=False, cancel_futures=True)

    def _timed(self, network: AnyNetwork, batch: list[Any]) -> tuple[Sequence[Any], float]:
        """Run a batch on this thread, a lane's, and say how many seconds it took."""
        thread = threading.get_ident()
        started_at = self._running_since[thread] = time.perf_counter()
        try:
            return network.infer(batch), time.perf_counter() - started_at
        except Exception as exc:
            _let_go(exc)
            if isinstance(exc, StopIteration):
                # Not every CPython has a future that takes it: the batch would count as one that hangs.
                raise RuntimeError(f"{network.name} raised StopIteration") from exc
            raise
        finally:
            del self._running_since[thread]


def _load(network: AnyNetwork) -> None:
    network.check_weights()
    network.load()


def _try_out(network: AnyNetwork, failure: Exception) -> None:
    """See whether the frame or the device is to blame for a failure.

    Raises:
        DeviceLostError: the network fails on its own frame too.
    """
    try:
        network.try_out()
    except Exception as exc:
        raise DeviceLostError(
            f"{network.name} fails on a frame of its own ({type(exc).__name__}: {exc}), after it failed on a "
            f"picture ({type(failure).__name__}: {failure})."
        ) from exc


def _let_go(exc: BaseException) -> None:
    """Clear the variables of the calls that an error came through, which its traceback keeps alive.

    Of a batch that had no room on the device these are the tensors that fill it: its halves need the room.
    """
    left, seen = [exc], set[int]()
    while left:
        error = left.pop()
        # An error may be its own cause.
        if id(error) not in seen:
            seen.add(id(error))
            traceback.clear_frames(error.__traceback__)
            left += [behind for behind in (error.__cause__, error.__context__) if behind is not None]
