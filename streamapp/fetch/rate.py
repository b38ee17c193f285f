"""The rate limit: how many requests one host gets in a second."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from streamapp.errors import FetchError
from streamapp.fetch.steps import StepKind, tell
from streamapp.pace import Pace
from streamapp.reasons import Reason


@dataclass(slots=True)
class _Queue:
    pace: Pace
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0


class RateLimit:
    """Lets the requests to one host through at even distances, in the order in which they came.

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
        self._per_s = per_s
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
        if self._per_s is None:
            return
        self._forget_idle()
        queue = self._queues.setdefault(host, _Queue(Pace(self._per_s, self._clock, self._sleep)))
        self._queues.move_to_end(host)
        wait_s = queue.pace.left_s() + queue.waiting * queue.pace.interval_s
        if wait_s > within_s:
            message = f"{queue.waiting} requests wait for their turn at {host!r}: more than it gets in time."
            raise FetchError(Reason.RATE_LIMITED, message, attempts=0)
        if wait_s > 0:
            tell(StepKind.WAIT, "%.3f s for a turn at %s, %d before", wait_s, host, queue.waiting)
        queue.waiting += 1
        try:
            async with queue.turn:
                await queue.pace.turn()
        finally:
            queue.waiting -= 1

    def _forget_idle(self) -> None:
        # Each call adds one host at most and looks at two, so that none is idle here for ever.
        for _ in range(2):
            if not self._queues:
                return
            host, queue = next(iter(self._queues.items()))
            if queue.waiting or queue.pace.left_s() > 0:
                return
            del self._queues[host]
