"""Turns at even distances: how many events a backfill begins in a second, how many requests a host gets."""

import asyncio
import time
from collections.abc import Awaitable, Callable

# A wait ends late by some milliseconds; what was missed meanwhile is made up for, a long hold-up is not.
_MADE_UP_S = 0.1


class Pace:
    """Lets one caller through at even distances.

    It is a token bucket that holds what comes in a tenth of a second (at least one token), in the form in
    which only the time of the next token is kept.

    Attributes:
        interval_s: from one turn to the next; 0 where there is no limit.

    Args:
        per_s: turns in a second; None: no limit.
        clock: seconds, monotonic.
        sleep: waits that many seconds.
    """

    def __init__(
        self,
        per_s: float | None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.interval_s = 1 / per_s if per_s else 0.0
        self._clock = clock
        self._sleep = sleep
        self._next_s = clock()

    def left_s(self) -> float:
        """Seconds until the next turn; negative since when it is due."""
        return self._next_s - self._clock()

    async def turn(self) -> None:
        """Wait for the next turn; whoever is cancelled meanwhile takes none."""
        if not self.interval_s:
            return
        left_s = self.left_s()
        if left_s > 0:
            await self._sleep(left_s)
        self._next_s = max(self._next_s, self._clock() - _MADE_UP_S) + self.interval_s
