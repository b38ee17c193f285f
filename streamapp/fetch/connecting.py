"""The guard where names become addresses, and where addresses become sockets.

Both are needed. The HTTP client does not ask a resolver for literal addresses; and a socket does not
know the name, so that only the resolver can tell a host that may be private from one that may not.
"""

import socket
import time
from collections import OrderedDict
from collections.abc import Callable
from contextvars import ContextVar
from typing import cast

from aiohttp import AddrInfoType
from aiohttp.abc import AbstractResolver, ResolveResult

from streamapp.fetch.dns import TimedResult
from streamapp.fetch.guard import Rules, address_refusal
from streamapp.fetch.steps import StepKind, tell
from streamapp.reasons import Reason

_MOST_NAMES_KEPT = 1000
_SHORTEST_KEPT_S = 1.0
_LONGEST_KEPT_S = 300.0

requested_host: ContextVar[str | None] = ContextVar("requested_host", default=None)
"""The host of the request that this task is making; inherited by the tasks that connect for it."""


class BlockedAddressError(OSError):
    """An address that must not be reached, with the reason.

    An OSError, because connecting code swallows every other class where it races several addresses.
    All carry the same message, so that the race hands one of them on as it is.
    """

    def __init__(self, reason: Reason = Reason.ADDRESS_BLOCKED) -> None:
        super().__init__("The address must not be reached.")
        self.reason = reason


class GuardedResolver(AbstractResolver):
    """Refuses a name if any of its addresses is blocked: a mixture is how rebinding looks.

    An answer that passed is kept for its lifetime, between 1 s and 5 min, where the resolver says how long
    that is (`TimedResult`). One that did not pass, or no answer, is not.

    Args:
        resolver: is asked, and closed with this one.
        rules: decide.
        clock: seconds, monotonic.
    """

    def __init__(
        self, resolver: AbstractResolver, rules: Rules, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._resolver = resolver
        self._rules = rules
        self._clock = clock
        self._kept: OrderedDict[tuple[str, int], tuple[float, list[TimedResult]]] = OrderedDict()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """All addresses of a name, each of them checked.

        Raises:
            BlockedAddressError: one of the addresses must not be reached.
            OSError: the name does not resolve.
        """
        kept_until_s, results = self._kept.get((host, family), (0.0, []))
        if self._clock() < kept_until_s:
            self._kept.move_to_end((host, family))
            _tell_addresses(host, results, "still known, allowed")
        else:
            results = cast(list[TimedResult], await self._resolver.resolve(host, port, family))
            self._check(host, results)
            self._keep(host, family, results)
        return [_with_port(result, port) for result in results]

    async def close(self) -> None:
        """Close the resolver that is guarded."""
        await self._resolver.close()

    def _check(self, host: str, results: list[TimedResult]) -> None:
        if not results:
            raise OSError(f"The name {host!r} has no address.")
        refusals = [address_refusal(result["host"], self._rules, host) for result in results]
        for result, refusal in zip(results, refusals, strict=True):
            _tell_addresses(host, [result], refusal or "allowed")
        if any(refusals):
            raise BlockedAddressError(next(filter(None, refusals)))

    def _keep(self, host: str, family: int, results: list[TimedResult]) -> None:
        lifetimes_s = [result["ttl_s"] for result in results if "ttl_s" in result]
        if len(lifetimes_s) < len(results):
            return
        kept_s = min(max(min(lifetimes_s), _SHORTEST_KEPT_S), _LONGEST_KEPT_S)
        self._kept[host, family] = self._clock() + kept_s, results
        self._kept.move_to_end((host, family))
        if len(self._kept) > _MOST_NAMES_KEPT:
            self._kept.popitem(last=False)


class GuardedSockets:
    """Opens sockets, for allowed addresses only; the last word, whoever resolved the name."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    def __call__(self, addr_info: AddrInfoType) -> socket.socket:
        """A socket for one candidate address.

        Raises:
            BlockedAddressError: the address must not be reached.
        """
        family, kind, proto, _, address = addr_info
        refusal = address_refusal(str(address[0]), self._rules, requested_host.get())
        tell(StepKind.CONNECT, "%s port %s: %s", address[0], address[1], refusal or "allowed, connecting")
        if refusal:
            raise BlockedAddressError(refusal)
        return socket.socket(family, kind, proto)


def _with_port(result: TimedResult, port: int) -> TimedResult:
    return {**result, "port": port}


def _tell_addresses(host: str, results: list[TimedResult], decision: str) -> None:
    for result in results:
        tell(StepKind.RESOLVE, "%s is %s: %s", host, result["host"], decision)
