"""The guard where names become addresses, and where addresses become sockets.

Both are needed. The HTTP client does not ask a resolver for literal addresses; and a socket does not
know the name, so that only the resolver can tell a host that may be private from one that may not.
"""

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar

from aiohttp import AddrInfoType
from aiohttp.abc import AbstractResolver, ResolveResult

from streamapp.fetch.guard import Rules, is_allowed_address

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

    The event loop's common threads would do, but a few names whose DNS servers never answer would
    then hold up everything else that runs there.
    """

    def __init__(self, threads: int) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="resolve")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """All addresses of a name.

        Raises:
            OSError: the name does not resolve.
        """
        loop = asyncio.get_running_loop()
        flags = socket.AI_ADDRCONFIG
        infos = await loop.run_in_executor(
            self._executor, socket.getaddrinfo, host, port, family, socket.SOCK_STREAM, 0, flags
        )
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
