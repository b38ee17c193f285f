"""What an observer of a fetch is told."""

import asyncio

import pytest
from aiohttp import web
from loopback import LOOPBACK, ListedResolver, Waits, answers_with, serving, settings

from streamapp.errors import FetchError
from streamapp.fetch.downloader import Downloader
from streamapp.fetch.steps import Step, StepKind, tell, traced


async def steps_of(downloader: Downloader, url: str) -> list[Step]:
    steps: list[Step] = []
    try:
        await downloader.fetch(url, observe=steps.append)
    except FetchError as exc:
        assert steps[-1].kind is StepKind.BLOCKED
        assert steps[-1].message == f"{exc.reason}: {exc}"
    return steps


async def test_a_fetch_is_told_hop_by_hop() -> None:
    async def respond(request: web.Request) -> web.Response:
        if request.path == "/a":
            return web.Response(status=302, headers={"Location": "/b"})
        return web.Response(body=b"12345", content_type="image/png")

    chosen = settings(allow_private_hosts=("cdn.example",))
    async with (
        serving(respond) as port,
        Downloader(chosen, resolver=ListedResolver(cdn=[[LOOPBACK]])) as downloader,
    ):
        steps = await steps_of(downloader, f"http://cdn.example:{port}/a")
    hop = [StepKind.URL, StepKind.REQUEST, StepKind.RESOLVE, StepKind.CONNECT, StepKind.RESPONSE]
    assert [step.kind for step in steps] == [*hop, StepKind.REDIRECT, *hop, StepKind.BODY]
    told = {step.kind: step.message for step in steps}
    assert told[StepKind.URL] == f"http://cdn.example:{port}/b: allowed"
    assert told[StepKind.RESOLVE] == "cdn.example is 127.0.0.1: allowed"
    assert told[StepKind.CONNECT] == f"127.0.0.1 port {port}: allowed, connecting"
    assert told[StepKind.RESPONSE] == "HTTP 200, Content-Type 'image/png', Content-Length 5"
    assert told[StepKind.REDIRECT] == "to '/b'"
    assert told[StepKind.BODY] == "5 bytes"
    assert [step.seconds for step in steps] == sorted(step.seconds for step in steps)
    assert steps[0].seconds >= 0


async def test_each_address_is_told_with_its_decision() -> None:
    resolver = ListedResolver(cdn=[["8.8.8.8", "10.0.0.1"]])
    async with Downloader(settings(), resolver=resolver) as downloader:
        steps = await steps_of(downloader, "http://cdn.example/")
    resolved = [step.message for step in steps if step.kind is StepKind.RESOLVE]
    assert resolved == ["cdn.example is 8.8.8.8: allowed", "cdn.example is 10.0.0.1: address_blocked"]
    assert StepKind.CONNECT not in {step.kind for step in steps}


async def test_a_refused_url_is_told() -> None:
    async with Downloader(settings()) as downloader:
        [step] = await steps_of(downloader, "http://10.0.0.1/")
    assert step.message.startswith("address_blocked: ")


async def test_retries_are_told_with_what_went_before() -> None:
    chosen = settings(download_attempts=2)
    async with serving(answers_with(status=503)) as port, Downloader(chosen, sleep=Waits()) as downloader:
        steps = await steps_of(downloader, f"http://{LOOPBACK}:{port}/")
    [retry] = [step.message for step in steps if step.kind is StepKind.RETRY]
    assert retry.endswith("after server_error: The server answered with HTTP status 503.")


async def test_what_the_server_sends_can_not_break_out_of_its_line() -> None:
    async def respond(_: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": "/\x1b[2J" + "a" * 1000})

    async with serving(respond) as port, Downloader(settings()) as downloader:
        steps = await steps_of(downloader, f"http://{LOOPBACK}:{port}/")
    assert all(step.message.isprintable() for step in steps)


async def test_only_the_fetch_that_is_observed_is_told() -> None:
    seen: list[Step] = []
    async with serving(answers_with(body=b"x")) as port, Downloader(settings()) as downloader:
        url = f"http://{LOOPBACK}:{port}/"
        await asyncio.gather(downloader.fetch(url, observe=seen.append), downloader.fetch(url + "other"))
        await downloader.fetch(url + "later")
    assert seen
    tell(StepKind.BODY, "later")
    assert not any("other" in step.message or "later" in step.message for step in seen)


def test_without_an_observer_nothing_is_formatted() -> None:
    class Unprintable:
        def __str__(self) -> str:
            raise AssertionError

    with traced(None):
        tell(StepKind.URL, "%s", Unprintable())
    with traced([].append), pytest.raises(AssertionError):
        tell(StepKind.URL, "%s", Unprintable())
