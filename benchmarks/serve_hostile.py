"""Serves what hostile users point at, on loopback until it is stopped: `python serve_hostile.py ADDRESS…`.

Listens on one port of every address named (127.0.1.1, 127.0.1.2, …: Linux has them all), so that each
stands for a host of its own. Prints the port when it listens.
"""

import asyncio
import io
import struct
import sys
import zlib

from PIL import Image

DRIP_S = 0.5
CHUNK = bytes(1 << 16)


def pixel_bomb() -> bytes:
    """A PNG of 30,000 x 30,000 pixels in a few kilobytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(1_000_000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def truncated() -> bytes:
    """The first half of a JPEG."""
    file = io.BytesIO()
    Image.effect_noise((800, 800), 64).save(file, "JPEG")
    return file.getvalue()[: len(file.getvalue()) // 2]


FILES = {
    "/bomb.png": pixel_bomb(),
    "/truncated.jpg": truncated(),
    "/page.jpg": b"<!doctype html><title>a picture</title>",
    "/empty.png": b"",
}


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One request; the connection is closed after it."""
    try:
        request = await reader.readuntil(b"\r\n\r\n")
        await _misbehave(request.split()[1].decode(), writer)
    except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        pass
    finally:
        writer.close()


async def _misbehave(path: str, writer: asyncio.StreamWriter) -> None:
    if path == "/silent":
        await asyncio.sleep(3600)
    elif path == "/drip":
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(DRIP_S)
    elif path == "/endless":
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(CHUNK)
            await writer.drain()
    elif path == "/loop":
        writer.write(
            b"HTTP/1.1 302 Found\r\nLocation: /loop\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
    elif path == "/failing":
        writer.write(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    elif path == "/reset":
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nsome")
    else:
        body = FILES.get(path)
        status = "404 Not Found" if body is None else "200 OK"
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body or b'')}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + (body or b""))
    await writer.drain()


async def serve() -> None:
    first, *others = sys.argv[1:]
    server = await asyncio.start_server(answer, first, 0, backlog=1024)
    port = server.sockets[0].getsockname()[1]
    for address in others:
        await asyncio.start_server(answer, address, port, backlog=1024)
    print(port, flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve())
