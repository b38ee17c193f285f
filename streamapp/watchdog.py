"""Ends a worker that can't end itself: its event loop stands still, or its orderly end does not come."""

import asyncio
import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable

from streamapp.exits import Exit
from streamapp.histogram import Histogram

logger = logging.getLogger(__name__)

PULSE_S = 0.25
_ROUND_S = 0.5
_LAST_WORDS_S = 2.0


class Pulse:
    """Shows that the event loop turns, and how late it is.

    Attributes:
        lag_s: how much later than asked for the loop came back, for every beat.
        beats: times that it came back; 0 before `run` begins.
    """

    def __init__(self) -> None:
        self.lag_s = Histogram()
        self.beats = 0
        self._last_s: float | None = None

    @property
    def still_s(self) -> float:
        """Seconds since the last beat; 0 before the first. From any thread."""
        return 0.0 if self._last_s is None else time.monotonic() - self._last_s

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            self._last_s = time.monotonic()
            self.beats += 1
            await asyncio.sleep(PULSE_S)
            self.lag_s.observe(max(0.0, time.monotonic() - self._last_s - PULSE_S))


class Watchdog:
    """A thread that ends the process, because what should do so may hang.

    Time is counted in rounds of its own: of a process that was stopped (SIGSTOP, a suspended machine) the
    watchdog was stopped too, and does not take that for a loop that stands still.

    Args:
        pulse: of the event loop; is watched from its first beat on.
        loop_timeout_s: longest time without a beat.
        drain_timeout_s: longest time from `is_ending` to the end of the process.
        is_ending: whether the worker was told to end, or ends by an error.
        overdue_exit: the exit code where the orderly end is overdue.
        end: ends the process at once; `os._exit`, for an orderly exit joins threads that may hang.
    """

    def __init__(
        self,
        pulse: Pulse,
        *,
        loop_timeout_s: float,
        drain_timeout_s: float,
        is_ending: Callable[[], bool],
        overdue_exit: Callable[[], Exit],
        end: Callable[[int], object] = os._exit,
    ) -> None:
        self._pulse = pulse
        self._loop_timeout_s = loop_timeout_s
        self._drain_timeout_s = drain_timeout_s
        self._is_ending = is_ending
        self._overdue_exit = overdue_exit
        self._end = end

    def start(self) -> None:
        """Watch from now on; a daemon thread, which lives until the process is gone."""
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def _watch(self) -> None:
        if self._loop_stands_still():
            self._finish(
                Exit.HUNG,
                "The event loop has not turned for %.0f s: the worker ends with exit code %d. Events without "
                "an outcome are delivered again. What all threads are at:\n%s",
                self._loop_timeout_s,
                Exit.HUNG,
                _stacks(),
            )
            return
        time.sleep(self._drain_timeout_s)
        code = self._overdue_exit()
        self._finish(
            code,
            "The worker did not stop within %.0f s; it ends with exit code %d. Nothing is lost: events "
            "without an outcome are delivered again.",
            self._drain_timeout_s,
            code,
        )

    def _loop_stands_still(self) -> bool:
        """Wait until the worker is told to end, or has to be: then True."""
        beats, rounds = 0, 0
        while not self._is_ending():
            time.sleep(_ROUND_S)
            if self._pulse.beats != beats or beats == 0:
                beats, rounds = self._pulse.beats, 0
                continue
            rounds += 1
            if rounds * _ROUND_S >= self._loop_timeout_s:
                return True
        return False

    def _finish(self, code: Exit, message: str, *args: object) -> None:
        # In a thread: where nobody reads the log, writing to it hangs, and the loop may for that very reason.
        last_words = threading.Thread(target=logger.error, args=(message, *args), daemon=True)
        last_words.start()
        last_words.join(_LAST_WORDS_S)
        self._end(code)


def _stacks() -> str:
    """The stack of every thread but this one, by its name."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    return "\n".join(
        f"{names.get(ident, ident)}:\n{''.join(traceback.format_stack(frame))}"
        for ident, frame in sys._current_frames().items()
        if ident != threading.get_ident()
    )
