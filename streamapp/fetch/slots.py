"""Slots: how many requests may be open, in all, to one host, and to hosts that nobody knows."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

_MOST_KNOWN_HOSTS = 256


@dataclass(slots=True)
class _HostSlots:
    all: asyncio.Semaphore
    as_stranger: asyncio.Semaphore
    users: int = field(default=0)


class Slots:
    """Bounds the open requests; a request holds one slot of its host and one of all.

    The host's slot is taken first, so that a crowd at one slow host waits among itself and leaves the
    common slots to others. The HTTP client's own limit per host would be counted as connect time, and
    would be waited for while a common slot is held.

    A flood of hosts that hang, each URL another one, would still take all. Therefore strangers share half of
    the slots, of which one stranger gets half; the rest is for known hosts, those that delivered a file
    lately or that the operator named.

    That keeps sockets free, not the worker: those who wait are events in flight, of which all hosts share
    one bound. A host that is slow for most events holds up the others, each for `fetch_deadline_s` at most.

    Args:
        in_all: most open requests.
        per_host: most of them to one host.
        is_named: whether the operator named a host, which is known from the start then.
    """

    def __init__(
        self, in_all: int, per_host: int, is_named: Callable[[str], bool] = lambda host: False
    ) -> None:
        self._in_all = asyncio.Semaphore(in_all)
        self._strangers = asyncio.Semaphore(max(1, in_all // 2))
        self._per_stranger = max(1, in_all // 4)
        self._per_host = per_host
        self._hosts: dict[str, _HostSlots] = {}
        self._is_named = is_named
        self._delivered: OrderedDict[str, None] = OrderedDict()

    def is_known(self, host: str) -> bool:
        """Whether a host delivered a file lately or was named by the operator."""
        return host in self._delivered or self._is_named(host)

    def delivered(self, host: str) -> None:
        """Note that a file came from this host."""
        self._delivered[host] = None
        self._delivered.move_to_end(host)
        if len(self._delivered) > _MOST_KNOWN_HOSTS:
            self._delivered.popitem(last=False)

    @asynccontextmanager
    async def taken(self, host: str) -> AsyncIterator[None]:
        """Hold a slot of this host, one of the strangers' if it is one, and one of all, in the block."""
        slots = self._hosts.setdefault(
            host, _HostSlots(asyncio.Semaphore(self._per_host), asyncio.Semaphore(self._per_stranger))
        )
        slots.users += 1
        try:
            async with AsyncExitStack() as stack:
                await stack.enter_async_context(slots.all)
                if not self.is_known(host):
                    await stack.enter_async_context(slots.as_stranger)
                    await stack.enter_async_context(self._strangers)
                await stack.enter_async_context(self._in_all)
                yield
        finally:
            slots.users -= 1
            if not slots.users:
                del self._hosts[host]
