"""A DNS server on loopback that answers by what a name begins with."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

A, AAAA = 1, 28
NO_SUCH_NAME, SERVER_FAILURE = 3, 2
IPV4, IPV6 = "93.184.215.14", "2606:4700:4700::1111"


class DnsServer(asyncio.DatagramProtocol):
    """Answers ``six…`` with an IPv6 address, ``gone.…`` and ``broken.…`` with an error, ``empty…`` with
    nothing, ``hang…`` never, and all others with an IPv4 address; with the time to live that is set.

    Attributes:
        address: where it listens, as ``address:port``.
        ttl_s: the time to live of its answers.
        asked: the names that were asked for, each once for a question of either kind.
    """

    def __init__(self) -> None:
        self.address = ""
        self.ttl_s = 60
        self.asked: list[str] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)
        self.address = "{}:{}".format(*transport.get_extra_info("sockname"))

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        name, kind, question = _read_question(data)
        if kind == A:
            self.asked.append(name)
        if name.startswith("hang"):
            return
        code = {"gone": NO_SUCH_NAME, "broken": SERVER_FAILURE}.get(name.partition(".")[0], 0)
        answer = b"" if code else self._answer(name, kind)
        header = struct.pack("!6H", int.from_bytes(data[:2]), 0x8180 | code, 1, bool(answer), 0, 0)
        self._transport.sendto(header + question + answer, addr)

    def _answer(self, name: str, kind: int) -> bytes:
        if name.startswith("empty") or kind != (AAAA if name.startswith("six") else A):
            return b""
        family, text = (socket.AF_INET, IPV4) if kind == A else (socket.AF_INET6, IPV6)
        address = socket.inet_pton(family, text)
        return b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, self.ttl_s, len(address)) + address


def _read_question(data: bytes) -> tuple[str, int, bytes]:
    labels, i = [], 12
    while length := data[i]:
        labels.append(data[i + 1 : i + 1 + length].decode())
        i += 1 + length
    return ".".join(labels), int.from_bytes(data[i + 1 : i + 3]), data[12 : i + 5]


@asynccontextmanager
async def answering() -> AsyncIterator[DnsServer]:
    """A server that runs in the block."""
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(DnsServer, local_addr=("127.0.0.1", 0))
    try:
        yield server
    finally:
        transport.close()
