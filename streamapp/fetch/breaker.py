"""Circuit breakers, one for each host: pure decisions about who is asked at all.

URLs come from strangers, and a host that is dead must not fill the worker with events that wait for it.
After some failures in a row its breaker opens: nobody asks it for a while. Then one request at a time is let
through, the probe. If the host answers it, the breaker is closed; if not, it is open for another while.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from streamapp.errors import FetchError
from streamapp.reasons import Reason

_MOST_HOSTS = 10_000
_PROBE_POLL_S = 1.0


class Outcome(Enum):
    """What a request says about its host."""

    ANSWERED = auto()
    FAILED = auto()
    NOTHING = auto()


# Errors whose like only a server that works produces.
_ANSWERS = (
    Reason.NOT_FOUND,
    Reason.REFUSED,
    Reason.TOO_LARGE,
    Reason.BAD_RESPONSE,
    Reason.URL_INVALID,
    Reason.TOO_MANY_REDIRECTS,
)


def outcome_of(error: FetchError) -> Outcome:
    """What an error says about the host.

    A failure is what a retry is for: timeouts, broken connections, 408, 425, 5xx; and 429, since to leave
    the host alone is what it asks for. A missing or refused file is an answer. A blocked address, an unknown
    name or a bad certificate says nothing: no amount of them costs time.
    """
    if error.is_retriable:
        return Outcome.FAILED
    return Outcome.ANSWERED if error.reason in _ANSWERS else Outcome.NOTHING


@dataclass(slots=True)
class _Breaker:
    failures: int = 0
    open_until_s: float | None = None
    is_probed: bool = False


class Breakers:
    """The breakers of all hosts; those of hosts that work take no memory.

    Args:
        failures: that many in a row open a breaker.
        open_s: for how long.
        clock: seconds, monotonic.
        most_hosts: of more failing hosts the one that was quiet longest is forgotten.
    """

    def __init__(
        self,
        failures: int,
        open_s: float,
        clock: Callable[[], float] = time.monotonic,
        most_hosts: int = _MOST_HOSTS,
    ) -> None:
        self._failures = failures
        self._open_s = open_s
        self._clock = clock
        self._most_hosts = most_hosts
        self._breakers: OrderedDict[str, _Breaker] = OrderedDict()

    def wait_s(self, host: str) -> float:
        """Seconds until this host may be asked, by the next probe at the latest; 0 if it may be now."""
        breaker = self._breakers.get(host)
        if breaker is None or breaker.open_until_s is None:
            return 0.0
        if breaker.is_probed:
            return _PROBE_POLL_S
        return max(0.0, breaker.open_until_s - self._clock())

    def failures(self, host: str) -> int:
        """How often this host failed in a row."""
        breaker = self._breakers.get(host)
        return breaker.failures if breaker else 0

    def begin(self, host: str) -> bool:
        """Note a request to a host that may be asked; `end` must follow.

        Returns:
            Whether this request is the probe.
        """
        breaker = self._breakers.get(host)
        if breaker is None or breaker.open_until_s is None:
            return False
        breaker.is_probed = True
        return True

    def end(self, host: str, outcome: Outcome, *, is_probe: bool) -> bool:
        """Note how a request ended; one that was cancelled says nothing about its host.

        Returns:
            Whether the breaker opened by it, for the first time or again.
        """
        if outcome is Outcome.ANSWERED:
            self._breakers.pop(host, None)
            return False
        if outcome is Outcome.FAILED:
            return self._failed(host, is_probe)
        if is_probe and host in self._breakers:
            self._breakers[host].is_probed = False
        return False

    def _failed(self, host: str, is_probe: bool) -> bool:
        breaker = self._breakers.setdefault(host, _Breaker())
        self._breakers.move_to_end(host)
        if len(self._breakers) > self._most_hosts:
            self._breakers.popitem(last=False)
        breaker.failures += 1
        if is_probe:
            breaker.is_probed = False
        # Requests that were under way when it opened may fail later: they don't prolong it.
        elif breaker.open_until_s is not None or breaker.failures < self._failures:
            return False
        breaker.open_until_s = self._clock() + self._open_s
        return True
