"""A caller that has no room for a file yet: the download keeps its slot, and has all the time."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web
from loopback import LOOPBACK, answers_with, sending, serving, settings

from streamapp.errors import FetchError
from streamapp.fetch.downloader import Download, Downloader

Fetch = Callable[[], Awaitable[Download]]


class Room:
    """Admits nobody before it is opened."""

    def __init__(self) -> None:
        self.is_asked_for = asyncio.Event()
        self.is_open = asyncio.Event()

    async def __call__(self) -> None:
        self.is_asked_for.set()
        async with asyncio.timeout(10):
            await self.is_open.wait()


async def test_no_other_download_begins_while_a_file_waits_for_room() -> None:
    asked = 0

    async def respond(_: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        return web.Response(body=b"x")

    room = Room()
    async with serving(respond) as port, Downloader(settings(downloads_in_flight=1)) as downloader:
        url = f"http://{LOOPBACK}:{port}/"
        waiting = asyncio.create_task(downloader.fetch(url, admit=room))
        await room.is_asked_for.wait()
        next_one = asyncio.create_task(downloader.fetch(url))
        # Longer than a request on loopback takes; were it begun, this would see it nearly always.
        await asyncio.wait([next_one], timeout=0.05)
        assert asked == 1
        room.is_open.set()
        assert (await waiting).content == (await next_one).content == b"x"


async def test_no_time_limit_of_the_download_covers_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    loop_time = loop.time

    async def admit_much_later() -> None:
        # Every timer that was set before is due.
        monkeypatch.setattr(loop, "time", lambda: loop_time() + 10_000)
        for _ in range(5):
            await asyncio.sleep(0)

    async with serving(answers_with(body=b"x")) as port, Downloader(settings()) as downloader:
        download = await downloader.fetch(f"http://{LOOPBACK}:{port}/", admit=admit_much_later)
        monkeypatch.undo()
    assert download.content == b"x"
    assert download.fetch_s < 10_000


async def test_those_who_wait_for_a_slot_do_not_run_out_of_time_while_the_caller_has_no_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    is_asked_for, is_open = asyncio.Event(), asyncio.Event()

    async def admit() -> None:
        is_asked_for.set()
        await is_open.wait()

    chosen = settings(downloads_in_flight=1, fetch_deadline_s=60)
    loop = asyncio.get_running_loop()
    loop_time = loop.time
    async with serving(answers_with(body=b"x")) as port, Downloader(chosen) as downloader:
        url = f"http://{LOOPBACK}:{port}/"
        waiting = asyncio.create_task(downloader.fetch(url, admit=admit))
        next_one = asyncio.create_task(downloader.fetch(url))
        await is_asked_for.wait()
        # The models take an hour for what they have; every timer that was set before is due.
        monkeypatch.setattr(loop, "time", lambda: loop_time() + 3600)
        for _ in range(5):
            await asyncio.sleep(0)
        is_open.set()
        assert (await next_one).content == b"x"
        await waiting


async def test_nothing_is_admitted_that_was_not_fetched() -> None:
    async def fail() -> None:
        raise AssertionError

    async with (
        sending(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort") as port,
        Downloader(settings()) as downloader,
    ):
        with pytest.raises(FetchError):
            await downloader.fetch(f"http://{LOOPBACK}:{port}/", admit=fail)


@pytest.mark.parametrize("is_cancelled", [True, False])
async def test_a_wait_for_room_that_ends_otherwise_gives_the_slot_back(is_cancelled: bool) -> None:
    room = Room()

    async def give_up() -> None:
        raise TimeoutError

    async with (
        asyncio.timeout(10),
        serving(answers_with(body=b"x")) as port,
        Downloader(settings(downloads_in_flight=1)) as downloader,
    ):
        url = f"http://{LOOPBACK}:{port}/"
        if is_cancelled:
            waiting = asyncio.create_task(downloader.fetch(url, admit=room))
            await room.is_asked_for.wait()
            waiting.cancel()
            await asyncio.wait([waiting])
            assert waiting.cancelled()
        else:
            # The caller's own error, and no timeout of the server.
            with pytest.raises(TimeoutError):
                await downloader.fetch(url, admit=give_up)
        assert (await downloader.fetch(url)).content == b"x"
