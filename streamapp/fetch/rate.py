"""The rate limit: how many requests one host gets in a second."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from streamapp.errors import FetchError
from streamapp.fetch.steps import StepKind, tell
from streamapp.reasons import Reason

# A wait ends late by some milliseconds; what was missed meanwhile is made up for.
_MADE_UP_S = 0.1


@dataclass(slots=True)
class _Queue:
    next_s: float
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0


class RateLimit:
    """Lets the requests to one host through at even distances, in the order in which they came.

    It is a token bucket that holds what comes in a tenth of a second (at least one token), in the form in
    which only the time of the next token is kept.

    Args:
        per_s: requests to one host in a second; None: no limit.
        clock: seconds, monotonic.
        sleep: waits that many seconds.
    """

    def __init__(
        self,
        per_s: float | None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._interval_s = 1 / per_s if per_s else 0.0
        self._clock = clock
        self._sleep = sleep
        self._queues: OrderedDict[str, _Queue] = OrderedDict()

    async def turn(self, host: str, within_s: float) -> None:
        """Wait until a request may be made; whoever is cancelled meanwhile takes no turn away.

        Args:
            host: who will be asked.
            within_s: how long the request may wait.

        Raises:
            FetchError: rate_limited, at once, if those who wait already need longer than that.
        """
        if not self._interval_s:
            return
        self._forget_idle()
        queue = self._queues.setdefault(host, _Queue(next_s=self._clock()))
        self._queues.move_to_end(host)
        wait_s = queue.next_s - self._clock() + queue.waiting * self._interval_s
        if wait_s > within_s:
            message = f"{queue.waiting} requests wait for their turn at {host!r}: more than it gets in time."
            raise FetchError(Reason.RATE_LIMITED, message, attempts=0)
        if wait_s > 0:
            tell(StepKind.WAIT, "%.3f s for a turn at %s, %d before", wait_s, host, queue.waiting)
        queue.waiting += 1
        try:
            async with queue.turn:
                left_s = queue.next_s - self._clock()
                if left_s > 0:
                    await self._sleep(left_s)
                queue.next_s = max(queue.next_s, self._clock() - _MADE_UP_S) + self._interval_s
        finally:
            queue.waiting -= 1

    def _forget_idle(self) -> None:
        # Each call adds one host at most and looks at two, so that none is idle here for ever.
        for _ in range(2):
            if not self._queues:
                return
            host, queue = next(iter(self._queues.items()))
            if queue.waiting or queue.next_s > self._clock():
                return
            del self._queues[host]
