"""Names whose DNS servers never answer, and who is held up by them."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from aiohttp import web

from streamapp.errors import FetchError
from streamapp.fetch import connecting
from streamapp.fetch.connecting import ThreadResolver
from streamapp.fetch.downloader import Downloader
from streamapp.reasons import Reason
from streamapp.settings import Settings

LOOPBACK = "127.0.0.1"


class SlowDns:
    """Stands for `getaddrinfo`: names that begin with "hang" have no answer before `release` is set."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.asked: list[str] = []

    def __call__(self, host: str, port: int, *_: Any) -> list[Any]:
        self.asked.append(host)
        if host.startswith("hang"):
            self.release.wait(10)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (LOOPBACK, port))]


@pytest.fixture
def dns() -> Iterator[SlowDns]:
    slow = SlowDns()
    yield slow
    slow.release.set()


async def abandon(resolver: ThreadResolver, *hosts: str) -> None:
    """Look names up and give up, as a request does whose time to connect is over."""
    for host in hosts:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await resolver.resolve(host)


async def resolves(resolver: ThreadResolver, host: str) -> bool:
    async with asyncio.timeout(5):
        return [answer["host"] for answer in await resolver.resolve(host)] == [LOOPBACK]


async def test_names_that_hang_leave_other_names_their_threads(dns: SlowDns) -> None:
    resolver = ThreadResolver(4, dns)
    await abandon(resolver, "hang-1", "hang-2", "hang-3")
    assert await resolves(resolver, "new.example")
    await resolver.close()


async def test_a_flood_of_names_that_hang_leaves_threads_to_names_that_resolved_before(dns: SlowDns) -> None:
    resolver = ThreadResolver(2, dns)
    assert await resolves(resolver, "cdn.example")
    await abandon(resolver, "hang-1", "hang-2")
    assert await resolves(resolver, "cdn.example")
    await resolver.close()


async def test_a_name_without_a_free_thread_fails_at_once_and_is_not_queued(dns: SlowDns) -> None:
    resolver = ThreadResolver(2, dns)
    await abandon(resolver, "hang-1", "hang-2")
    with pytest.raises(socket.gaierror) as caught:
        await resolver.resolve("new.example")
    assert caught.value.errno == socket.EAI_AGAIN
    assert dns.asked == ["hang-1", "hang-2"]
    await resolver.close()


async def test_a_thread_is_free_again_when_its_name_has_an_answer(dns: SlowDns) -> None:
    resolver = ThreadResolver(1, dns)
    hanging = asyncio.create_task(resolver.resolve("hang-1"))
    await asyncio.sleep(0)
    with pytest.raises(socket.gaierror):
        await resolver.resolve("new.example")
    dns.release.set()
    async with asyncio.timeout(5):
        await hanging
    assert await resolves(resolver, "new.example")
    await resolver.close()


async def test_names_that_do_not_resolve_give_their_thread_back() -> None:
    def unknown(*_: Any) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "Unknown.")

    resolver = ThreadResolver(1, unknown)
    for _ in range(3):
        with pytest.raises(socket.gaierror) as caught:
            await resolver.resolve("gone.example")
        assert caught.value.errno == socket.EAI_NONAME
    await resolver.close()


async def test_few_of_the_names_that_resolved_are_remembered(
    dns: SlowDns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connecting, "_MOST_KNOWN_NAMES", 2)
    resolver = ThreadResolver(1, dns)
    for host in ("a.example", "b.example", "a.example", "c.example"):
        assert await resolves(resolver, host)
    assert list(resolver._known) == ["a.example", "c.example"]
    await resolver.close()


async def test_the_system_resolves_names_of_the_hosts_file() -> None:
    resolver = ThreadResolver(1)
    async with asyncio.timeout(5):
        answers = await resolver.resolve("localhost", 80, socket.AF_INET)
    assert {answer["host"] for answer in answers} == {LOOPBACK}
    await resolver.close()


async def test_downloads_go_on_while_names_hang(dns: SlowDns) -> None:
    async def respond(_: web.Request) -> web.Response:
        return web.Response(body=b"x")

    app = web.Application()
    app.router.add_get("/", respond)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, LOOPBACK, 0).start()
    port = runner.addresses[0][1]
    settings = Settings(
        allow_private_hosts=("cdn.example", "new.example"),
        downloads_in_flight=2,
        download_attempts=1,
        connect_timeout_s=0.05,
    )
    async with Downloader(settings, resolver=ThreadResolver(2, dns)) as downloader:

        async def outcome(host: str) -> tuple[Reason, bool] | bytes:
            try:
                return (await downloader.fetch(f"http://{host}/")).content
            except FetchError as exc:
                return exc.reason, exc.is_retriable

        assert await outcome(f"cdn.example:{port}") == b"x"
        assert [await outcome(f"hang-{i}.example") for i in range(2)] == [(Reason.TIMEOUT, True)] * 2
        assert await outcome(f"new.example:{port}") == (Reason.HOST_UNKNOWN, True)
        # From here on aiohttp's own memory of the name does not help.
        assert downloader._session is not None
        downloader._session.connector.clear_dns_cache()  # type: ignore[union-attr]
        assert await outcome(f"cdn.example:{port}") == b"x"
        dns.release.set()
    await runner.cleanup()
