"""One decoder process, as the worker sees it."""

import contextlib
import hashlib
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace

import msgspec
import numpy as np

from streamapp.errors import MediaError, StreamappError
from streamapp.media import Picture
from streamapp.media.messages import one_line
from streamapp.media.sandbox.wire import (
    Answer,
    Order,
    Ready,
    Refused,
    answer_deadline_s,
    receive_answer,
    receive_into,
    send_file,
)
from streamapp.reasons import Reason

logger = logging.getLogger(__name__)

_END_TIMEOUT_S = 5.0
# From the end of its connection to the end of the process: the system gives up its memory meanwhile.
_EXIT_TIMEOUT_S = 1.0
_LAST_WORDS_BYTES = 64 * 2**10

# All of the worker's environment that a decoder gets: what Python and its libraries need to be found.
_KEPT_VARIABLES = (
    "DYLD_LIBRARY_PATH",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "LD_LIBRARY_PATH",
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONHOME",
    "PYTHONPYCACHEPREFIX",
)

_LIBRARY_VARIABLES = {
    # One file is one thread's work. Each further thread, and each arena, takes address space.
    "MALLOC_ARENA_MAX": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    # By itself glibc gives a picture's buffers back to the system when it is done, and to get them anew for
    # the next takes longer than to decode a JPEG. Now it keeps buffers of up to 8 MiB, 64 MiB in all.
    "MALLOC_MMAP_THRESHOLD_": str(8 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(64 * 2**20),
}


class DecoderProcess:
    """Starts a decoder process and gives it files, one at a time, from one thread at a time.

    Attributes:
        is_spent: whether it must be replaced: it is dead, or its state is not known.
    """

    def __init__(self, order: Order) -> None:
        """Start the process and don't wait for it.

        Raises:
            StreamappError: it can't be started.
        """
        self._order = order
        self._is_ready = False
        self.is_spent = False
        self._connection, theirs = socket.socketpair()
        as_argument = msgspec.json.encode(order).decode()
        with theirs:
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "streamapp.media.sandbox.child", as_argument],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    bufsize=0,
                    cwd="/",
                    env=_environment(),
                )
            except OSError as exc:
                self._connection.close()
                raise StreamappError(f"A decoder process can't be started: {exc}.") from exc
        assert self._process.stderr is not None
        self._stderr = self._process.stderr

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def wait_until_ready(self, timeout_s: float) -> None:
        """Wait until it takes files.

        Raises:
            StreamappError: it ended, or did not get so far in time; it is killed then.
        """
        if self._is_ready:
            return
        try:
            answer = receive_answer(self._connection, time.monotonic() + timeout_s)
            if not isinstance(answer, Ready):
                raise ValueError(f"{type(answer).__name__} before Ready")
        except (EOFError, OSError, ValueError) as exc:
            overdue = f"it was not ready after {timeout_s:g} s" if isinstance(exc, TimeoutError) else ""
            self.is_spent = True
            self.kill()
            raise StreamappError(
                f"A decoder process does not start: {overdue or self._last_words() or exc}."
            ) from exc
        self._is_ready = True
        # It writes nothing more; what held its last words is not needed.
        self._stderr.close()

    def decode(self, content: bytes) -> Picture:
        """Decode a file in the process, which must be ready.

        Raises:
            MediaError: what the decoder says of the file, or decode_timeout, decode_memory or
                decoder_crashed.
        """
        # Until the answer is read whole, also where this thread is interrupted.
        self.is_spent = True
        deadline_s = time.monotonic() + self._order.timeout_s
        try:
            send_file(self._connection, content, deadline_s)
            # While the process works.
            sha256 = hashlib.sha256(content).hexdigest()
            answer = receive_answer(self._connection, deadline_s)
            picture = self._picture(answer, sha256, len(content), deadline_s)
        except TimeoutError as exc:
            self.kill()
            message = f"Decoding was stopped after {self._order.timeout_s:g} s."
            raise MediaError(Reason.DECODE_TIMEOUT, message) from exc
        except ValueError as exc:
            self.kill()
            message = f"The decoder's answer can't be used: {exc}."
            raise MediaError(Reason.DECODER_CRASHED, one_line(message[:200])) from exc
        except (EOFError, OSError) as exc:
            raise MediaError(Reason.DECODER_CRASHED, self._how_it_ended()) from exc
        self.is_spent = False
        if isinstance(picture, Refused):
            # A library that leaks ends here too: the next file gets a fresh process.
            self.is_spent = picture.reason is Reason.DECODE_MEMORY
            raise MediaError(picture.reason, one_line(picture.message))
        return picture

    def kill(self) -> None:
        """End the process; may be called from any thread, at any time, again."""
        self._process.kill()
        try:
            self._process.wait(_END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            logger.warning("Decoder process %d does not end though it was killed.", self.pid)

    def close(self) -> None:
        """End the process and let its connection go; from the thread that uses it."""
        self.kill()
        self._connection.close()
        self._stderr.close()

    def _picture(self, answer: Answer, sha256: str, size_bytes: int, deadline_s: float) -> Picture | Refused:
        """Check the answer and read its pixels.

        Raises:
            ValueError: it is none to a file, or breaks the limits.
        """
        if isinstance(answer, Refused):
            answer.check()
            return answer
        if isinstance(answer, Ready):
            raise ValueError("Ready for a file")
        answer.check(self._order.limits)
        deadline_s = answer_deadline_s(deadline_s)
        frames = []
        for frame in answer.picture.frames:
            pixels = np.empty(frame.pixels.shape, np.uint8)
            receive_into(self._connection, pixels.data.cast("B"), deadline_s)
            frames.append(replace(frame, pixels=pixels))
        return replace(answer.picture, sha256=sha256, size_bytes=size_bytes, frames=tuple(frames))

    def _how_it_ended(self) -> str:
        try:
            code = self._process.wait(_EXIT_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            return "The decoder closed its connection."
        if code >= 0:
            return f"The decoder ended with exit code {code}."
        with contextlib.suppress(ValueError):
            return f"The decoder was ended by {signal.Signals(-code).name}."
        return f"The decoder was ended by signal {-code}."

    def _last_words(self) -> str:
        """The last line that the dead process wrote to stderr: the error of a Python that fails."""
        os.set_blocking(self._stderr.fileno(), False)
        text = (self._stderr.read(_LAST_WORDS_BYTES) or b"").decode(errors="replace")
        lines = text.strip().splitlines()
        return lines[-1][:300].rstrip(".") if lines else self._how_it_ended().rstrip(".")


def _environment() -> dict[str, str]:
    """The decoder's whole environment: modules are found where this process finds its own."""
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    folders = os.pathsep.join(os.path.abspath(folder) for folder in sys.path)
    return kept | {"PYTHONPATH": folders} | _LIBRARY_VARIABLES
