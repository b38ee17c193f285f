"""Slots: how many requests may be open, in all, to one host, and to hosts that nobody knows."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from streamapp.fetch.strangers import StrangerSlots

_MOST_KNOWN_HOSTS = 256

PROOF_FILES = 8
"""Files in a row, without a failure, that make a host known."""

_MOST_COUNTED_FILES = 8 * PROOF_FILES
_LEFT_BY_A_FAILURE = 4  # one in so many: a busy host survives one bad URL, and no second one at once


@dataclass(slots=True)
class _HostSlots:
    semaphore: asyncio.Semaphore
    users: int = field(default=0)


class Slots:
    """Bounds the open requests; a request holds one slot of its host and one of all.

    The host's slot is taken first, so that a crowd at one slow host waits among itself and leaves the
    common slots to others. The HTTP client's own limit per host would be counted as connect time, and
    would be waited for while a common slot is held.

    A flood of hosts that hang, each URL another one, would still take all. Therefore strangers share half of
    the slots, of which one stranger gets half; the rest is for known hosts. Those are the ones that the
    operator named; where none is named, those whose last requests brought files, quickly and so many in a
    row that one who wants to be known only to hang then has to work for it each time.

    Args:
        in_all: most open requests.
        per_host: most of them to one host.
        is_named: whether the operator named a host; None where no host is named.
    """

    def __init__(self, in_all: int, per_host: int, is_named: Callable[[str], bool] | None = None) -> None:
        self._in_all = asyncio.Semaphore(in_all)
        self._strangers = StrangerSlots(max(1, in_all // 2), max(1, in_all // 4))
        self._per_host = per_host
        self._hosts: dict[str, _HostSlots] = {}
        self._is_named = is_named
        # Host → files since its last failure, and what that left of those before.
        self._delivered: OrderedDict[str, int] = OrderedDict()

    def is_known(self, host: str) -> bool:
        """Whether a host was named by the operator or, where none was, proved itself lately."""
        if self._is_named is not None:
            return self._is_named(host)
        return self._delivered.get(host, 0) >= PROOF_FILES

    def delivered(self, host: str) -> None:
        """Note that a file came from this host, and quickly."""
        self._delivered[host] = min(self._delivered.get(host, 0) + 1, _MOST_COUNTED_FILES)
        self._delivered.move_to_end(host)
        if len(self._delivered) > _MOST_KNOWN_HOSTS:
            self._delivered.popitem(last=False)
        if self.is_known(host):
            self._strangers.welcome(host)

    def failed(self, host: str) -> None:
        """Note that a request to this host failed or took long.

        It has to prove itself anew, unless it delivered a lot: anybody may find a good host's bad URL.
        """
        left = self._delivered.pop(host, 0) // _LEFT_BY_A_FAILURE
        if left:
            self._delivered[host] = left

    @asynccontextmanager
    async def taken(self, host: str) -> AsyncIterator[None]:
        """Hold a slot of this host, one of the strangers' if it is one, and one of all, in the block."""
        slots = self._hosts.setdefault(host, _HostSlots(asyncio.Semaphore(self._per_host)))
        slots.users += 1
        try:
            async with slots.semaphore, self._as_stranger(host), self._in_all:
                yield
        finally:
            slots.users -= 1
            if not slots.users:
                del self._hosts[host]

    @asynccontextmanager
    async def _as_stranger(self, host: str) -> AsyncIterator[None]:
        """Hold one of the strangers' slots if the host is a stranger, and still is when its turn comes."""
        is_held = not self.is_known(host) and await self._strangers.take(host)
        try:
            yield
        finally:
            if is_held:
                self._strangers.give_back(host)
