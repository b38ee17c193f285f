"""Slots: how many requests may be open, in all and to one host."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(slots=True)
class _HostSlots:
    semaphore: asyncio.Semaphore
    users: int = field(default=0)


class Slots:
    """Bounds the open requests; a request holds one slot of its host and one of all.

    The host's slot is taken first, so that a crowd at one slow host waits among itself and leaves the
    common slots to others. The HTTP client's own limit per host would be counted as connect time, and
    would be waited for while a common slot is held.

    That keeps sockets free, not the worker: those who wait are events in flight, of which all hosts share
    one bound. A host that is slow for most events holds up the others, each for `fetch_deadline_s` at most.
    """

    def __init__(self, in_all: int, per_host: int) -> None:
        self._in_all = asyncio.Semaphore(in_all)
        self._per_host = per_host
        self._hosts: dict[str, _HostSlots] = {}

    @asynccontextmanager
    async def taken(self, host: str) -> AsyncIterator[None]:
        """Hold a slot of this host and one of all for the length of the block."""
        slots = self._hosts.setdefault(host, _HostSlots(asyncio.Semaphore(self._per_host)))
        slots.users += 1
        try:
            async with slots.semaphore, self._in_all:
                yield
        finally:
            slots.users -= 1
            if not slots.users:
                del self._hosts[host]
