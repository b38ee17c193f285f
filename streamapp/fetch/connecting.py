"""The guard where names become addresses, and where addresses become sockets.

Both are needed. The HTTP client does not ask a resolver for literal addresses; and a socket does not
know the name, so that only the resolver can tell a host that may be private from one that may not.
"""

import asyncio
import socket
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from threading import Semaphore
from typing import Any

from aiohttp import AddrInfoType
from aiohttp.abc import AbstractResolver, ResolveResult

from streamapp.fetch.guard import Rules, is_allowed_address

_MOST_KNOWN_NAMES = 1000

requested_host: ContextVar[str | None] = ContextVar("requested_host", default=None)
"""The host of the request that this task is making; inherited by the tasks that connect for it."""


class BlockedAddressError(OSError):
    """An address that must not be reached.

    An OSError, because connecting code swallows every other class where it races several addresses.
    All carry the same message, so that the race hands one of them on as it is.
    """

    def __init__(self) -> None:
        super().__init__("The address is not on the public internet.")


class ThreadResolver(AbstractResolver):
    """Resolves names by the system's `getaddrinfo`, in threads of its own.

    A thread can't be called back: the look-up of a name whose DNS servers never answer goes on for tens
    of seconds after its request gave up. Therefore:

    - None is ever queued behind others. Without a free thread a look-up fails at once, as one that can be
      tried again; the request then waits for its retry, and holds no slot meanwhile.
    - Names that resolved before have threads of their own, so that a flood of names that hang leaves them
      to the CDN.

    Args:
        at_once: look-ups that requests can wait for at the same time; each of the two kinds gets so many
            threads. Without abandoned look-ups one is always free.
        getaddrinfo: blocks, and answers as `socket.getaddrinfo` does.
    """

    def __init__(self, at_once: int, getaddrinfo: Callable[..., list[Any]] = socket.getaddrinfo) -> None:
        self._executor = ThreadPoolExecutor(2 * at_once, thread_name_prefix="resolve")
        self._getaddrinfo = getaddrinfo
        self._free_for_known = Semaphore(at_once)
        self._free_for_others = Semaphore(at_once)
        self._known: OrderedDict[str, None] = OrderedDict()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """All addresses of a name.

        Raises:
            OSError: the name does not resolve, or there is no free thread (EAI_AGAIN).
        """
        free = self._free_for_known if host in self._known else self._free_for_others
        if not free.acquire(blocking=False):
            raise socket.gaierror(socket.EAI_AGAIN, "Too many names without an answer are being looked up.")
        flags = socket.AI_ADDRCONFIG
        lookup = self._executor.submit(self._getaddrinfo, host, port, family, socket.SOCK_STREAM, 0, flags)
        # When the thread is free again, which can be long after the waiter gave up.
        lookup.add_done_callback(lambda _: free.release())
        infos = await asyncio.wrap_future(lookup)
        self._remember(host)
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=port,
                family=found_family,
                proto=proto,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for found_family, _, proto, _, address in infos
        ]

    def _remember(self, host: str) -> None:
        self._known[host] = None
        self._known.move_to_end(host)
        if len(self._known) > _MOST_KNOWN_NAMES:
            self._known.popitem(last=False)

    async def close(self) -> None:
        """Let go of the threads; one that still waits for DNS ends with its answer."""
        self._executor.shutdown(wait=False, cancel_futures=True)


class GuardedResolver(AbstractResolver):
    """Refuses a name if any of its addresses is blocked: a mixture is how rebinding looks."""

    def __init__(self, resolver: AbstractResolver, rules: Rules) -> None:
        self._resolver = resolver
        self._rules = rules

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """All addresses of a name, each of them checked.

        Raises:
            BlockedAddressError: one of the addresses must not be reached.
            OSError: the name does not resolve.
        """
        results = await self._resolver.resolve(host, port, family)
        if not results:
            raise OSError(f"The name {host!r} has no address.")
        if not all(is_allowed_address(result["host"], self._rules, host) for result in results):
            raise BlockedAddressError
        return results

    async def close(self) -> None:
        """Close the resolver that is guarded."""
        await self._resolver.close()


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
        if not is_allowed_address(str(address[0]), self._rules, requested_host.get()):
            raise BlockedAddressError
        return socket.socket(family, kind, proto)
