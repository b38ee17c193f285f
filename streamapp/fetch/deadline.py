"""How long one file may take, not counting the time in which the caller has no room for files."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

_LOOK_AGAIN_S = 0.5  # at a deadline that is due while the clock stands still
_AT_ONCE_S = 0.001  # timers may fire this much too early


class PausableClock:
    """The event loop's seconds, without those in which a file waits for room.

    Where the models are slower than the downloads, the slots are held by files that wait for room. Events
    that wait for a slot then wait for the models, and must not end as timeouts of a server.
    """

    def __init__(self) -> None:
        self._pauses = 0
        self._paused_at_s = 0.0
        self._left_out_s = 0.0

    def now_s(self) -> float:
        """Seconds, monotonic."""
        at_s = self._paused_at_s if self._pauses else asyncio.get_running_loop().time()
        return at_s - self._left_out_s

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stand still in the block; blocks may overlap."""
        loop = asyncio.get_running_loop()
        if not self._pauses:
            self._paused_at_s = loop.time()
        self._pauses += 1
        try:
            yield
        finally:
            self._pauses -= 1
            if not self._pauses:
                self._left_out_s += loop.time() - self._paused_at_s


class Deadline:
    """Ends what is done in its block by a TimeoutError when the clock has gone so far; entered once.

    Args:
        clock: decides; it may stand still meanwhile.
        after_s: from the entry.
    """

    def __init__(self, clock: PausableClock, after_s: float) -> None:
        self._clock = clock
        self._after_s = after_s
        self._end_s = 0.0
        self._timeout = asyncio.timeout(None)
        self._alarm: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        await self._timeout.__aenter__()
        self._end_s = self._clock.now_s() + self._after_s
        self._set_alarm(self._after_s)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.lift()
        await self._timeout.__aexit__(kind, error, traceback)

    @property
    def has_expired(self) -> bool:
        """Whether the block was ended."""
        return self._timeout.expired()

    def left_s(self) -> float:
        """Seconds that are left, by the clock."""
        return self._end_s - self._clock.now_s()

    def lift(self) -> None:
        """Let the rest of the block take all the time."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if not self._timeout.expired():
            self._timeout.reschedule(None)

    def _set_alarm(self, in_s: float) -> None:
        self._alarm = asyncio.get_running_loop().call_later(in_s, self._ring)

    def _ring(self) -> None:
        left_s = self.left_s()
        if left_s > _AT_ONCE_S:
            self._set_alarm(max(left_s, _LOOK_AGAIN_S))
        else:
            self._timeout.reschedule(asyncio.get_running_loop().time())
