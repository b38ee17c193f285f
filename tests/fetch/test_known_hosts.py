"""Who is known, who stays a stranger, and what that is worth: the downloader against servers on loopback."""

import asyncio

import pytest
from aiohttp import web
from loopback import LOOPBACK, ListedResolver, Time, answers_with, downloader, failure, serving, settings

from streamapp.errors import FetchError
from streamapp.fetch.downloader import Downloader
from streamapp.fetch.slots import PROOF_FILES
from streamapp.reasons import Reason


@pytest.fixture
def time() -> Time:
    return Time()


async def test_a_flood_of_hosts_that_hang_leaves_slots_to_a_host_that_proved_itself() -> None:
    hanging = 0
    go_on = asyncio.Event()

    async def respond(request: web.Request) -> web.Response:
        nonlocal hanging
        if request.path == "/hang":
            hanging += 1
            async with asyncio.timeout(10):
                await go_on.wait()
        return web.Response(body=b"x")

    hosts = [f"h{i}.example" for i in range(20)]
    chosen = settings(allow_private_hosts=(LOOPBACK, *hosts), downloads_in_flight=8)
    resolver = ListedResolver(**{f"h{i}": [[LOOPBACK]] for i in range(20)})
    async with serving(respond) as port, Downloader(chosen, resolver=resolver) as fetching:
        for _ in range(PROOF_FILES):
            await fetching.fetch(f"http://{LOOPBACK}:{port}/")
        flood = [asyncio.create_task(fetching.fetch(f"http://{host}:{port}/hang")) for host in hosts]
        while hanging < 4:
            await asyncio.sleep(0.001)
        async with asyncio.timeout(10):
            await asyncio.gather(*(fetching.fetch(f"http://{LOOPBACK}:{port}/") for _ in range(20)))
        assert hanging == 4
        go_on.set()
        await asyncio.gather(*flood)


async def test_a_redirect_that_took_nearly_all_the_time_is_not_the_fault_of_its_target(time: Time) -> None:
    asked: list[str] = []

    async def respond(request: web.Request) -> web.Response:
        asked.append(request.host)
        time.now_s += 19.0
        return web.Response(status=302, headers={"Location": f"http://cdn.example:{port}/"})

    chosen = settings(allow_private_hosts=(LOOPBACK, "cdn.example"), download_timeout_s=20)
    resolver = ListedResolver(cdn=[[LOOPBACK]])
    async with serving(respond) as port, Downloader(chosen, clock=time, resolver=resolver) as fetching:
        failed = await failure(fetching, f"http://{LOOPBACK}:{port}/")
    assert failed.reason is Reason.TIMEOUT
    assert asked == [f"{LOOPBACK}:{port}"]


async def test_a_host_that_sends_its_files_as_slowly_as_it_may_never_becomes_known(time: Time) -> None:
    async def respond(request: web.Request) -> web.Response:
        time.now_s += float(request.query["s"])
        return web.Response(body=b"x")

    async with serving(respond) as port, downloader(time, download_timeout_s=20) as fetching:
        known = []
        for seconds in (*[19.0] * 2 * PROOF_FILES, *[0.5] * PROOF_FILES, 19.0):
            await fetching.fetch(f"http://{LOOPBACK}:{port}/?s={seconds}")
            known.append(fetching._limits.is_known(LOOPBACK))
    assert known == [*[False] * (3 * PROOF_FILES - 1), True, False]


async def test_a_host_that_only_redirects_to_files_proves_itself_too() -> None:
    async def respond(request: web.Request) -> web.Response:
        if request.path == "/file":
            return web.Response(body=b"x")
        location = "/nowhere" if request.path == "/nowhere" else f"http://{LOOPBACK}:{port}/file"
        return web.Response(status=302, headers={"Location": location})

    hosts = ("short.example", "loop.example")
    chosen = settings(allow_private_hosts=(LOOPBACK, *hosts))
    resolver = ListedResolver(short=[[LOOPBACK]], loop=[[LOOPBACK]])
    async with serving(respond) as port, Downloader(chosen, resolver=resolver) as fetching:
        for _ in range(PROOF_FILES):
            await fetching.fetch(f"http://short.example:{port}/")
            with pytest.raises(FetchError):
                await fetching.fetch(f"http://loop.example:{port}/nowhere")
        assert [fetching._limits.is_known(host) for host in (LOOPBACK, *hosts)] == [True, True, False]


async def test_only_connections_to_hosts_that_proved_themselves_are_kept() -> None:
    async with serving(answers_with(body=b"x")) as port, Downloader(settings()) as fetching:
        assert fetching._sessions is not None
        kept = []
        for _ in range(PROOF_FILES + 1):
            await fetching.fetch(f"http://{LOOPBACK}:{port}/")
            connectors = [fetching._sessions.of(is_kept_alive=is_kept).connector for is_kept in (True, False)]
            kept.append([sum(map(len, connector._conns.values())) for connector in connectors if connector])
    assert kept == [[0, 0]] * PROOF_FILES + [[1, 0]]
