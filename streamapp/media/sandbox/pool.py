"""A fixed number of decoder processes, shared by the decode threads."""

import contextlib
import hashlib
import logging
import queue
import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from streamapp.errors import MediaError, StreamappError
from streamapp.media import Picture
from streamapp.media.limits import Limits
from streamapp.media.sandbox.process import DecoderProcess
from streamapp.media.sandbox.wire import Order
from streamapp.reasons import Reason

if TYPE_CHECKING:
    from streamapp.settings import Settings

logger = logging.getLogger(__name__)

# Far above what a start takes (a third of a second): the disk is cold, the machine is busy.
START_TIMEOUT_S = 30.0
_START_ATTEMPTS = 3


def _described(content: bytes) -> str:
    return f"{len(content)} bytes, sha256 {hashlib.sha256(content).hexdigest()}"


class DecoderPool:
    """Decodes files in processes of their own; a context manager.

    Each process is in one of two places: with a thread that uses it, or in the queue of the free ones. A
    thread that finds its process spent puts a new one into the queue instead, so that the pool keeps its
    size. None in the queue stands for a process that could not be started, which the next user tries again.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        decoders: int,
        timeout_s: float,
        memory_mb: int,
        loader: str = "streamapp.media.sandbox.decoder:load",
    ) -> None:
        """Take what is needed; nothing starts yet.

        Args:
            limits: for every file.
            decoders: processes; as many threads can decode at the same time, further ones wait.
            timeout_s: for decoding one file, there and back.
            memory_mb: address space of one process.
            loader: ``package.module:name`` of the function that each process calls first, and that returns
                the one that decodes.
        """
        self._order = Order(loader, limits, timeout_s, memory_mb)
        self._free: queue.LifoQueue[DecoderProcess | None] = queue.LifoQueue(decoders)
        self._lock = threading.Lock()
        self._processes: set[DecoderProcess] = set()
        self._is_closed = False
        self._started = 0

    @classmethod
    def from_settings(cls, settings: "Settings", *, decoders: int) -> Self:
        """The pool with the limits under "Decode" of the settings; nothing starts yet."""
        return cls(
            Limits.from_settings(settings),
            decoders=decoders,
            timeout_s=settings.decode_timeout_s,
            memory_mb=settings.decode_memory_mb,
        )

    @property
    def pids(self) -> set[int]:
        """The processes that are there now."""
        with self._lock:
            return {process.pid for process in self._processes}

    @property
    def restarts(self) -> int:
        """Processes that took the place of another."""
        return max(0, self._started - self._free.maxsize)

    def __enter__(self) -> Self:
        """Start the processes, and don't wait for them.

        Raises:
            StreamappError: one can't be started.
        """
        try:
            for _ in range(self._free.maxsize):
                self._free.put_nowait(self._start())
        except StreamappError:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def wait_until_ready(self) -> None:
        """Wait until every process takes files; before the first `decode`.

        Raises:
            StreamappError: one does not start, with what it said last.
        """
        deadline_s = time.monotonic() + START_TIMEOUT_S
        with self._lock:
            processes = list(self._processes)
        for process in processes:
            process.wait_until_ready(max(0.0, deadline_s - time.monotonic()))

    def decode(self, content: bytes) -> Picture:
        """Decode a file; from any thread.

        Raises:
            MediaError: what `media.decode.decode` says of the file; or decode_timeout, decode_memory or
                decoder_crashed.
            StreamappError: no decoder can be had, which is no fault of the file; or the pool is closed.
        """
        process = self._take()
        try:
            return process.decode(content)
        except MediaError as exc:
            if self._is_closed:
                # The process was killed by `close`.
                raise StreamappError("The decoders are closed.") from exc
            if exc.reason in (Reason.DECODE_TIMEOUT, Reason.DECODER_CRASHED):
                logger.warning("%s The file gets no verdict: %s.", exc, _described(content))
            raise
        finally:
            self._give_back(process)

    def close(self) -> None:
        """End all processes, also those that are at work: their threads get an error. Again: no effect."""
        with self._lock:
            self._is_closed = True
            processes = list(self._processes)
        for process in processes:
            process.kill()
        self._drain()

    def _take(self) -> DecoderProcess:
        """A process that is ready, and this thread's until it is given back."""
        if self._is_closed:
            raise StreamappError("The decoders are closed.")
        try:
            process = self._free.get(timeout=self._order.timeout_s + START_TIMEOUT_S)
        except queue.Empty:
            raise StreamappError(f"All {self._free.maxsize} decoders are in use. This is a bug.") from None
        try:
            return self._ready(process)
        except BaseException:
            self._free.put_nowait(None)
            raise

    def _ready(self, process: DecoderProcess | None) -> DecoderProcess:
        """The process, or another one where it has died while it was idle or does not start."""
        for attempt in range(1, _START_ATTEMPTS + 1):
            try:
                if process is None:
                    process = self._start()
                process.wait_until_ready(START_TIMEOUT_S)
                if process.is_running:
                    return process
            except StreamappError as exc:
                if self._is_closed or attempt == _START_ATTEMPTS:
                    raise
                logger.warning("%s Trying again.", exc)
            finally:
                if process is not None and not process.is_running:
                    self._discard(process)
                    process = None
        raise StreamappError(f"{_START_ATTEMPTS} decoder processes have ended right after their start.")

    def _give_back(self, process: DecoderProcess) -> None:
        fresh: DecoderProcess | None = process
        if process.is_spent:
            self._discard(process)
            # Started now, so that it is ready when the next file comes; else the next user tries.
            fresh = None
            with contextlib.suppress(StreamappError):
                fresh = self._start()
        self._free.put_nowait(fresh)
        if self._is_closed:
            # `close` has not seen it in the queue.
            self._drain()

    def _start(self) -> DecoderProcess:
        with self._lock:
            if self._is_closed:
                raise StreamappError("The decoders are closed.")
            process = DecoderProcess(self._order)
            self._processes.add(process)
            self._started += 1
            return process

    def _discard(self, process: DecoderProcess) -> None:
        process.close()
        with self._lock:
            self._processes.discard(process)

    def _drain(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                process = self._free.get_nowait()
                if process is not None:
                    self._discard(process)
