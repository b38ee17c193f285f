"""Servers, clocks and answers of DNS that the downloader's tests share; all on loopback."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from streamapp.errors import FetchError
from streamapp.fetch.downloader import Downloader
from streamapp.settings import Settings

LOOPBACK = "127.0.0.1"
Respond = Callable[[web.Request], Awaitable[web.StreamResponse]]
Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Waits:
    """Stands for `asyncio.sleep`: notes the seconds and returns at once."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


class Time:
    """A clock that only waits turn on."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.waits_s: list[float] = []

    def __call__(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        self.waits_s.append(seconds)
        self.now_s += seconds
        await asyncio.sleep(0)


class ListedResolver(AbstractResolver):
    """Answers from a list of answers for each name, one after the other; the last one stays."""

    def __init__(self, **answers: list[list[str]]) -> None:
        self._answers = answers

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        answers = self._answers[host.partition(".")[0]]
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        return [
            ResolveResult(hostname=host, host=address, port=port, family=socket.AF_INET, proto=0, flags=0)
            for address in addresses
        ]

    async def close(self) -> None:
        pass


@asynccontextmanager
async def serving(respond: Respond, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server that answers every path; gives its port."""
    app = web.Application()
    app.router.add_get("/{path:.*}", respond)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, LOOPBACK, 0, ssl_context=tls).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@asynccontextmanager
async def answering_raw(answer: Answer) -> AsyncIterator[int]:
    """A server whose answers need be no HTTP; closes a connection after its answer, gives its port."""
    writers: list[asyncio.StreamWriter] = []
    tasks: list[asyncio.Task[None]] = []

    async def answer_and_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await answer(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # The client went away.
        finally:
            writer.close()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        tasks.append(asyncio.create_task(answer_and_close(reader, writer)))

    server = await asyncio.start_server(connected, LOOPBACK, 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        # A transport that is closed keeps its socket while it has bytes that the client does not take.
        for writer in writers:
            writer.transport.abort()
        for task in tasks:
            task.cancel()
        ended = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)
        await server.wait_closed()
        assert not [one for one in ended if isinstance(one, Exception)]


@asynccontextmanager
async def sending(data: bytes, *, then_hang: bool = False) -> AsyncIterator[int]:
    """A server that sends these bytes to everyone who sent a request, and closes or falls silent."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(data)
        if then_hang:
            await asyncio.sleep(60)

    async with answering_raw(answer) as port:
        yield port


def settings(**changes: Any) -> Settings:
    values: dict[str, Any] = {"allow_private_hosts": (LOOPBACK,), "download_attempts": 1}
    return Settings(**(values | changes))


def answers_with(**values: Any) -> Respond:
    async def respond(_: web.Request) -> web.Response:
        return web.Response(**values)

    return respond


def downloader(time: Time, **changes: Any) -> Downloader:
    return Downloader(settings(**changes), sleep=time.sleep, clock=time, random=lambda: 0.5)


async def failure(downloader: Downloader, url: str) -> FetchError:
    with pytest.raises(FetchError) as caught:
        await downloader.fetch(url)
    return caught.value
