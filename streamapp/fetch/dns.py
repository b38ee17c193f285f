"""Names to addresses, by c-ares: no thread waits for an answer, and each answer says how long it holds."""

import asyncio
import socket

import aiodns
import pycares
from aiohttp.abc import AbstractResolver, ResolveResult

from streamapp.fetch.hosts import canonical_host

_TRY_TIMEOUT_S = 2.0
# c-ares waits less for the first tries where the server has been quick, so that four are 4 s at least.
_TRIES = 4
_LOOKUPS_PER_CHANNEL = 5000

# DNS knows no such name, or no address of it. Everything else is for a server that could not be asked.
_FINAL_ERRORS = (aiodns.error.ARES_ENOTFOUND, aiodns.error.ARES_ENODATA, aiodns.error.ARES_EBADNAME)


class TimedResult(ResolveResult, total=False):
    """An address of a name; ``ttl_s`` is for how long it may be kept, absent if not at all."""

    ttl_s: float


class DnsResolver(AbstractResolver):
    """Resolves names as the system is set up to: by the hosts file and the servers of resolv.conf.

    The search domains of the system are for names that the operator wrote, and tried after the name as it is.
    A stranger's name is asked for as it is and not otherwise: in the pods of Kubernetes it would be looked
    for inside the cluster, and a domain with a wildcard would answer for every name that does not exist.

    A name whose servers never answer costs c-ares a few hundred bytes until its last try. The request that
    waits has its own timeout.

    c-ares keeps answers too, about 2 kB for each name, for their lifetime and without a bound on their
    number. Therefore a new channel takes over from time to time; the old one stays for its last answers
    until the next takes over.

    Args:
        servers: ``address:port`` of DNS servers, instead of the system's.
        searched_hosts: names, in canonical form, for which the search domains are tried.
    """

    def __init__(self, servers: tuple[str, ...] = (), searched_hosts: frozenset[str] = frozenset()) -> None:
        self._servers = servers
        self._searched_hosts = searched_hosts
        self._lookups = 0
        # Never renewed: its names are few.
        self._searching_channel = self._new_channel(is_searching=True)
        self._channel = self._new_channel()
        self._retired: aiodns.DNSResolver | None = None

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """All addresses of a name, as `TimedResult`.

        Raises:
            socket.gaierror: EAI_NONAME if the name does not exist or has no address, EAI_AGAIN if no
                server could say so.
        """
        await self._renew_when_due()
        is_searched = canonical_host(host) in self._searched_hosts
        channel = self._searching_channel if is_searched else self._channel
        try:
            answer = await channel.getaddrinfo(host, family, port, type=socket.SOCK_STREAM)
        except aiodns.error.DNSError as exc:
            code, text = exc.args
            is_final = code in _FINAL_ERRORS
            raise socket.gaierror(socket.EAI_NONAME if is_final else socket.EAI_AGAIN, text) from exc
        return [
            TimedResult(
                hostname=host,
                host=_address(node.addr),
                port=port,
                family=node.family,
                proto=node.protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
                ttl_s=float(node.ttl),
            )
            for node in answer.nodes
        ]

    async def close(self) -> None:
        """End the look-ups that are under way, as ones that failed, and let go of the sockets."""
        await self._close_retired()
        await self._channel.close()
        await self._searching_channel.close()

    async def _renew_when_due(self) -> None:
        self._lookups += 1
        if self._lookups % _LOOKUPS_PER_CHANNEL == 0:
            await self._close_retired()
            self._retired, self._channel = self._channel, self._new_channel()

    async def _close_retired(self) -> None:
        # Never left to the garbage collector: the answers that it would cut off could find the loop closed.
        if self._retired is not None:
            await self._retired.close()

    def _new_channel(self, *, is_searching: bool = False) -> aiodns.DNSResolver:
        # Without `lookups`, which would name the hosts file: pycares 5.2 frees that text too early.
        return aiodns.DNSResolver(
            nameservers=self._servers or None,
            loop=asyncio.get_running_loop(),
            timeout=_TRY_TIMEOUT_S,
            tries=_TRIES,
            ndots=1,
            flags=0 if is_searching else pycares.ARES_FLAG_NOSEARCH,
        )


def _address(socket_address: tuple[bytes, int] | tuple[bytes, int, int, int]) -> str:
    """The address as text; with its zone, which the guard refuses, where it has one."""
    address = socket_address[0].decode("ascii")
    zone = socket_address[3] if len(socket_address) == 4 else 0
    return f"{address}%{zone}" if zone else address
