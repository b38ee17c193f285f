"""Which hosts are asked, when, and by how many at once: the downloader against servers on loopback."""

import asyncio
import logging

import pytest
from aiohttp import web
from loopback import LOOPBACK, Time, downloader, failure, serving, settings

from streamapp.errors import FetchError, SettingsError
from streamapp.fetch.downloader import Downloader
from streamapp.reasons import Reason


class Server:
    """Answers with one status after the other; the last one stays."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.asked = 0

    async def respond(self, _: web.Request) -> web.Response:
        self.asked += 1
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        return web.Response(status=status, body=b"x")


@pytest.fixture
def time() -> Time:
    return Time()


async def test_a_host_that_fails_again_and_again_is_left_alone(
    time: Time, caplog: pytest.LogCaptureFixture
) -> None:
    server = Server(503)
    async with serving(server.respond) as port, downloader(time, breaker_failures=3) as fetching:
        url = f"http://{LOOPBACK}:{port}/"
        with caplog.at_level(logging.WARNING, "streamapp.fetch.host_limits"):
            reasons = [(await failure(fetching, url)).reason for _ in range(3)]
        refused = await failure(fetching, url)
    assert reasons == [Reason.SERVER_ERROR] * 3
    assert (refused.reason, refused.attempts, server.asked) == (Reason.CIRCUIT_OPEN, 0, 3)
    assert "failed 3 times in a row" in str(refused)
    assert time.waits_s == []
    [warning] = [record.getMessage() for record in caplog.records if record.name.endswith("host_limits")]
    assert "'127.0.0.1' failed 3 times in a row and is left alone for 30 s" in warning


async def test_missing_and_forbidden_files_are_no_failures_of_the_host(time: Time) -> None:
    server = Server(404, 403, 410, 404, 200)
    async with serving(server.respond) as port, downloader(time, breaker_failures=1) as fetching:
        for _ in range(4):
            await failure(fetching, f"http://{LOOPBACK}:{port}/")
        assert (await fetching.fetch(f"http://{LOOPBACK}:{port}/")).content == b"x"


async def test_one_probe_asks_whether_the_host_works_again(time: Time) -> None:
    is_asked, go_on = asyncio.Event(), asyncio.Event()
    server = Server(503, 200)

    async def respond(request: web.Request) -> web.Response:
        if server.asked == 1:
            is_asked.set()
            async with asyncio.timeout(10):
                await go_on.wait()
        return await server.respond(request)

    async with serving(respond) as port, downloader(time, breaker_failures=1, breaker_open_s=30) as fetching:
        url = f"http://{LOOPBACK}:{port}/"
        await failure(fetching, url)
        time.now_s = 30.0
        probe = asyncio.create_task(fetching.fetch(url))
        await is_asked.wait()
        assert (await failure(fetching, url)).reason is Reason.CIRCUIT_OPEN
        go_on.set()
        assert (await probe).content == b"x"
        assert (await fetching.fetch(url)).content == b"x"


async def test_a_probe_that_is_cancelled_makes_room_for_the_next(time: Time) -> None:
    is_asked = asyncio.Event()
    server = Server(503, 200)

    async def respond(request: web.Request) -> web.Response:
        if server.asked == 1 and not is_asked.is_set():
            is_asked.set()
            await asyncio.sleep(10)
        return await server.respond(request)

    async with serving(respond) as port, downloader(time, breaker_failures=1) as fetching:
        url = f"http://{LOOPBACK}:{port}/"
        await failure(fetching, url)
        time.now_s = 100.0
        probe = asyncio.create_task(fetching.fetch(url))
        await is_asked.wait()
        probe.cancel()
        await asyncio.wait([probe])
        assert (await fetching.fetch(url)).content == b"x"


async def test_a_retry_for_a_host_that_is_left_alone_ends_with_what_the_host_did(time: Time) -> None:
    async with (
        serving(Server(503).respond) as port,
        downloader(time, breaker_failures=2, download_attempts=4) as fetching,
    ):
        failed = await failure(fetching, f"http://{LOOPBACK}:{port}/")
    assert (failed.reason, failed.attempts) == (Reason.SERVER_ERROR, 2)
    assert "HTTP status 503. The host '127.0.0.1' failed 2 times in a row" in str(failed)
    # It does not wait for a retry that will not be.
    assert len(time.waits_s) == 1


async def test_a_retry_whose_host_died_during_the_wait_ends_with_what_the_host_did(time: Time) -> None:
    others: list[FetchError] = []

    async def sleep(_: float) -> None:
        others.append(await failure(fetching, url))

    chosen = settings(breaker_failures=2, download_attempts=4)
    async with serving(Server(503).respond) as port, Downloader(chosen, sleep=sleep, clock=time) as fetching:
        url = f"http://{LOOPBACK}:{port}/"
        failed = await failure(fetching, url)
    for one in (*others, failed):
        assert (one.reason, one.attempts) == (Reason.SERVER_ERROR, 1)
        assert "left alone" in str(one)


@pytest.mark.parametrize("setting", ["patient_hosts", "allowed_hosts"])
async def test_a_host_that_the_operator_named_is_waited_for_and_the_waits_are_no_attempts(
    time: Time, setting: str
) -> None:
    server = Server(503, 503, 503, 200)
    async with (
        serving(server.respond) as port,
        downloader(
            time,
            breaker_failures=1,
            breaker_open_s=50,
            download_attempts=4,
            retry_max_s=20,
            **{setting: (LOOPBACK,)},
        ) as fetching,
    ):
        download = await fetching.fetch(f"http://{LOOPBACK}:{port}/")
    assert (download.attempts, server.asked) == (4, 4)
    # Each opens it for another 50 s, in waits of at most 20 s.
    assert 150.0 <= time.now_s < 160.0
    assert max(time.waits_s) <= 20.0


async def test_a_patient_host_that_stays_down_ends_with_the_deadline_and_says_so(time: Time) -> None:
    async def never(_: float) -> None:
        await asyncio.Event().wait()

    chosen = settings(
        breaker_failures=1,
        fetch_deadline_s=0.5,
        retry_max_s=0.1,
        patient_hosts=(LOOPBACK,),
        download_attempts=4,
    )
    async with serving(Server(503).respond) as port, Downloader(chosen, sleep=never, clock=time) as fetching:
        asked, unasked = [await failure(fetching, f"http://{LOOPBACK}:{port}/") for _ in range(2)]
    assert (asked.reason, asked.attempts) == (Reason.TIMEOUT, 1)
    assert "HTTP status 503" in str(asked)
    assert (unasked.reason, unasked.attempts) == (Reason.CIRCUIT_OPEN, 0)
    assert "failed 1 times in a row" in str(unasked)


async def test_a_crowd_that_waits_for_a_host_which_dies_fails_at_once(time: Time) -> None:
    go_on = asyncio.Event()
    asked = 0

    async def respond(_: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        async with asyncio.timeout(10):
            await go_on.wait()
        return web.Response(status=503)

    async with (
        serving(respond) as port,
        downloader(time, breaker_failures=1, downloads_per_host=1) as fetching,
    ):
        crowd = [asyncio.create_task(failure(fetching, f"http://{LOOPBACK}:{port}/")) for _ in range(20)]
        while not asked:
            await asyncio.sleep(0.001)
        go_on.set()
        reasons = [error.reason for error in await asyncio.gather(*crowd)]
    assert sorted(reasons) == [Reason.CIRCUIT_OPEN] * 19 + [Reason.SERVER_ERROR]
    assert asked == 1


async def test_an_event_of_a_host_that_is_left_alone_waits_for_no_slot(time: Time) -> None:
    async with (
        asyncio.timeout(10),
        serving(Server(503).respond) as port,
        downloader(time, breaker_failures=1, downloads_in_flight=1) as fetching,
    ):
        await failure(fetching, f"http://{LOOPBACK}:{port}/")
        async with fetching._limits.entered("other.example", 1.0):
            refused = await failure(fetching, f"http://{LOOPBACK}:{port}/")
    assert refused.reason is Reason.CIRCUIT_OPEN


async def test_requests_to_one_host_keep_to_the_rate_and_hold_no_slot_meanwhile() -> None:
    is_waiting, go_on = asyncio.Event(), asyncio.Event()

    async def sleep(_: float) -> None:
        is_waiting.set()
        async with asyncio.timeout(10):
            await go_on.wait()

    chosen = settings(
        allow_private_hosts=(LOOPBACK, "localhost"), requests_per_host_per_s=0.1, downloads_in_flight=1
    )
    async with serving(Server(200).respond) as port, Downloader(chosen, sleep=sleep) as fetching:
        url = f"http://{LOOPBACK}:{port}/"
        await fetching.fetch(url)
        limited = asyncio.create_task(fetching.fetch(url))
        await is_waiting.wait()
        assert (await fetching.fetch(f"http://localhost:{port}/")).content == b"x"
        go_on.set()
        assert (await limited).content == b"x"


async def test_a_request_that_would_get_no_turn_in_time_fails_at_once(time: Time) -> None:
    async with (
        serving(Server(200).respond) as port,
        downloader(time, requests_per_host_per_s=0.01, fetch_deadline_s=60) as fetching,
    ):
        await fetching.fetch(f"http://{LOOPBACK}:{port}/")
        refused = await failure(fetching, f"http://{LOOPBACK}:{port}/")
    assert (refused.reason, refused.attempts) == (Reason.RATE_LIMITED, 0)


async def test_a_list_with_something_that_is_no_host_stops_the_downloader_at_once() -> None:
    for setting in ("patient_hosts", "blocked_hosts", "allowed_hosts"):
        with pytest.raises(SettingsError, match=setting):
            Downloader(settings(**{setting: ("https://cdn.example.com/",)}))
