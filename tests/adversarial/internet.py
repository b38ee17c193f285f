"""A public internet on loopback: names, addresses and servers, set up by each case.

The downloader runs with the worker's own rules: no private host is allowed, only ports 80 and 443. What
makes loopback look public is the last step alone, `loop.sock_connect`: a connection to an address and port
that a case serves goes to the case's server. Every other connection is an escape: it is refused and
noted, and fails the case. So is a connection to the witness, a server on loopback that has no public
address, and that files can point their decoder at.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from tempfile import TemporaryDirectory
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

from streamapp.fetch.dns import TimedResult

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

CDN = "93.184.215.14"
"""The public address of the name `cdn.example`, and of every case's first server."""

_LOOPBACK = "127.0.0.1"
# Longer than any case lasts: a server that hangs is ended with its case.
_HANG_S = 60.0


class Names(AbstractResolver):
    """Answers from a list of answers for each name, one after the other; the last one stays.

    An answer is a list of addresses. A name without answers does not exist. Answers are not to be kept,
    unless ``ttl_s`` says for how long.
    """

    def __init__(self) -> None:
        self.answers: dict[str, list[Sequence[str]]] = {"cdn.example": [[CDN]]}
        self.ttl_s: float | None = None

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The name's next answer, as `TimedResult`."""
        answers = self.answers.get(host)
        if answers is None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        lifetime: dict[str, Any] = {} if self.ttl_s is None else {"ttl_s": self.ttl_s}
        return [
            TimedResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
                **lifetime,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        """Nothing is held."""


class Internet:
    """What a case's URL can lead to.

    Attributes:
        names: the DNS.
        escapes: connections that must not have been tried.
        witness_port: of the server on loopback that nobody may reach.
    """

    def __init__(self) -> None:
        self.names = Names()
        self.escapes: list[str] = []
        self.witness_port = 0
        self._ports: dict[tuple[str, int], int] = {}
        self._servers: list[asyncio.Server] = []
        self._sockets: list[socket.socket] = []
        self._folders: list[TemporaryDirectory[str]] = []
        self._answering: set[asyncio.Task[Any]] = set()

    @classmethod
    @asynccontextmanager
    async def opened(cls) -> AsyncIterator["Internet"]:
        """The internet for the length of the block, as the running loop sees it."""
        loop = asyncio.get_running_loop()
        internet = cls()
        connect = loop.sock_connect

        async def rerouted(sock: socket.socket, address: Any) -> None:
            await connect(sock, (_LOOPBACK, internet._loopback_port(address)))

        loop.sock_connect = rerouted  # type: ignore[method-assign]
        try:
            internet.witness_port = await internet._listen(internet._witness)
            yield internet
        finally:
            loop.sock_connect = connect  # type: ignore[method-assign]
            await internet._close()

    async def serve(
        self, answer: Answer, *, address: str = CDN, port: int = 80, tls: ssl.SSLContext | None = None
    ) -> None:
        """Answer connections to this public address and port."""
        self._ports[address, port] = await self._listen(answer, tls)

    def never_accept(self, *, address: str = CDN, port: int = 80) -> None:
        """Behind this address is a server whose queue of connections is full: it takes no further one."""
        listener = socket.create_server((_LOOPBACK, 0), backlog=0)
        taken = listener.getsockname()
        self._sockets.append(listener)
        for _ in range(3):
            waiting = socket.socket()
            waiting.setblocking(False)
            waiting.connect_ex(taken)
            self._sockets.append(waiting)
        self._ports[address, port] = taken[1]

    def refuse(self, *, address: str = CDN, port: int = 80) -> None:
        """Nobody listens at this address."""
        closed = socket.socket()
        closed.bind((_LOOPBACK, 0))
        self._sockets.append(closed)
        self._ports[address, port] = closed.getsockname()[1]

    def folder(self) -> str:
        """A folder on this machine that is removed with the case."""
        self._folders.append(TemporaryDirectory())
        return self._folders[-1].name

    def _loopback_port(self, address: Any) -> int:
        try:
            return self._ports[address[0], address[1]]
        except KeyError:
            self.escapes.append(f"connect to {address[0]} port {address[1]}")
            raise ConnectionRefusedError(f"Nobody may connect to {address}.") from None

    async def _witness(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.escapes.append(f"connection to the witness from {writer.get_extra_info('peername')}")

    async def _listen(self, answer: Answer, tls: ssl.SSLContext | None = None) -> int:
        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._answering.add(task)
            try:
                async with asyncio.timeout(_HANG_S):
                    await answer(reader, writer)
            except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                pass  # The client went away, which is what most cases want of it, or the case is over.
            finally:
                self._answering.discard(task)
                writer.close()

        server = await asyncio.start_server(connected, _LOOPBACK, 0, ssl=tls, limit=2**20)
        self._servers.append(server)
        port: int = server.sockets[0].getsockname()[1]
        return port

    async def _close(self) -> None:
        for server in self._servers:
            server.close()
        for task in list(self._answering):
            task.cancel()
        await asyncio.gather(*self._answering, return_exceptions=True)
        for sock in self._sockets:
            sock.close()
        for folder in self._folders:
            folder.cleanup()


def http(
    body: bytes = b"", *headers: str, status: str = "200 OK", content_length: int | str | None = None
) -> bytes:
    """An HTTP/1.1 answer; its Content-Length is the body's unless another is given."""
    length = len(body) if content_length is None else content_length
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {length}", "Connection: close", *headers]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def redirect(location: str, status: str = "302 Found") -> bytes:
    """An answer that leads elsewhere."""
    return http(b"", f"Location: {location}", status=status)


def sends(data: bytes, *, then_hang: bool = False, reset: bool = False) -> Answer:
    """A server that sends these bytes to whoever asks, and then closes, falls silent or resets."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(data)
        await writer.drain()
        if then_hang:
            await asyncio.sleep(_HANG_S)
        if reset:
            # Lingering for 0 s makes of the close a reset.
            linger = (1).to_bytes(4, "little") + (0).to_bytes(4, "little")
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()

    return answer


async def speaks_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server that takes a TLS handshake for a broken request."""
    await reader.read(100)
    writer.write(http(status="400 Bad Request"))
    await writer.drain()


def drips(head: bytes, drop: bytes, every_s: float = 0.01) -> Answer:
    """A server that sends a head and then drop after drop, without end."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head)
        while True:
            writer.write(drop)
            await writer.drain()
            await asyncio.sleep(every_s)

    return answer


def routes(paths: dict[str, bytes]) -> Answer:
    """A server that has an answer for each path, and 404 for the rest; keeps no connection open."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        path = request.split(b" ", 2)[1].decode()
        writer.write(paths.get(path, http(b"", status="404 Not Found")))
        await writer.drain()

    return answer
