"""Objects of S3: fetched by a signed URL, which nobody gets to see."""

import asyncio
from typing import Any

import pytest
from aiohttp import web
from loopback import LOOPBACK, ListedResolver, Waits, answers_with, sending, serving, settings
from yarl import URL

from streamapp.errors import FetchError
from streamapp.fetch.downloader import Downloader
from streamapp.fetch.s3 import S3Presigner
from streamapp.fetch.steps import Step
from streamapp.reasons import Reason

SECRET = "5ec2e7"
SOURCE = "s3://pictures/a/b.png"


class CountingPresigner(S3Presigner):
    """Signs for a server on loopback, each time otherwise; refuses the first times it is told to."""

    def __init__(self, port: int, refusals: int = 0, host: str = LOOPBACK) -> None:
        self._port = port
        self._host = host
        self._refusals = refusals
        self.signed = 0

    async def presigned(self, url: URL) -> URL:
        self.signed += 1
        if self.signed <= self._refusals:
            raise FetchError(Reason.REFUSED, "No credentials yet.", attempts=0, is_retriable=True)
        return URL(
            f"http://{self._host}:{self._port}{url.raw_path}?X-Amz-Signature={SECRET}{self.signed}",
            encoded=True,
        )

    def close(self) -> None:
        pass


def signing(port: int, refusals: int = 0, **changes: Any) -> tuple[Downloader, CountingPresigner]:
    downloader = Downloader(settings(**changes), sleep=Waits())
    presigner = CountingPresigner(port, refusals)
    downloader._presigner = presigner
    return downloader, presigner


async def outcome(downloader: Downloader) -> tuple[FetchError, str]:
    """The error of a fetch, and all that was said of it."""
    steps: list[Step] = []
    async with downloader:
        with pytest.raises(FetchError) as caught:
            await downloader.fetch(SOURCE, observe=steps.append)
    return caught.value, " ".join([str(caught.value), *(step.message for step in steps)])


async def test_an_object_is_fetched_by_its_signed_url_and_known_by_its_own() -> None:
    seen: list[str] = []

    async def respond(request: web.Request) -> web.Response:
        seen.append(request.query["X-Amz-Signature"])
        return web.Response(status=503 if len(seen) == 1 else 200, body=b"x")

    steps: list[Step] = []
    async with serving(respond) as port:
        downloader, _ = signing(port, download_attempts=2)
        async with downloader:
            download = await downloader.fetch(SOURCE, observe=steps.append)
    assert (download.content, download.url, download.attempts) == (b"x", SOURCE, 2)
    # It is signed anew for each attempt.
    assert seen == [SECRET + "1", SECRET + "2"]
    assert not any(SECRET in step.message for step in steps)
    assert any(step.message == f"GET {SOURCE}" for step in steps)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nab",
        b"HTTP/1.1 200 OK\r\nX-Long: " + b"a" * 10_000 + b"\r\n\r\n",
        b"HTTP/1.1 307 Temporary Redirect\r\nLocation: http://\xff/?X-Amz-Signature=5ec2e7\r\n\r\n",
        b"",
    ],
)
async def test_no_error_and_no_step_has_the_signed_url(answer: bytes) -> None:
    async with sending(answer) as port:
        error, said = await outcome(signing(port)[0])
    assert SECRET not in said
    assert SOURCE in said
    assert error.attempts == 1


@pytest.mark.parametrize(
    "changes", [{"allow_private_hosts": ()}, {"blocked_hosts": (LOOPBACK,)}, {"connect_timeout_s": 1e-9}]
)
async def test_no_refusal_has_the_signed_url(changes: dict[str, Any]) -> None:
    async with sending(b"") as port:
        error, said = await outcome(signing(port, **changes)[0])
    assert error.reason in (Reason.ADDRESS_BLOCKED, Reason.HOST_BLOCKED, Reason.TIMEOUT)
    assert SECRET not in said


async def test_the_list_of_allowed_hosts_is_not_for_the_buckets() -> None:
    chosen = settings(allowed_hosts=("cdn.example",))
    downloader = Downloader(chosen, resolver=ListedResolver(bucket=[["10.0.0.1"]]))
    downloader._presigner = CountingPresigner(80, host="bucket.s3.example")
    error, _ = await outcome(downloader)
    assert error.reason is Reason.ADDRESS_BLOCKED


async def test_where_s3_redirects_to_is_not_asked() -> None:
    asked: list[str] = []

    async def respond(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(status=307, headers={"Location": "/elsewhere"})

    async with serving(respond) as port:
        error, _ = await outcome(signing(port, download_attempts=3)[0])
    assert error.reason is Reason.TOO_MANY_REDIRECTS
    assert asked == ["/a/b.png"]


async def test_a_redirect_to_s3_is_refused() -> None:
    async def respond(_: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": SOURCE})

    async with serving(respond) as port:
        downloader, presigner = signing(port)
        async with downloader:
            with pytest.raises(FetchError) as caught:
                await downloader.fetch(f"http://{LOOPBACK}:{port}/")
    assert caught.value.reason is Reason.URL_SCHEME
    assert not presigner.signed


@pytest.mark.parametrize(("refusals", "attempts"), [(2, 1), (3, 0)])
async def test_credentials_that_come_late_are_waited_for_as_often_as_a_server(
    refusals: int, attempts: int
) -> None:
    async with asyncio.timeout(10), serving(answers_with(body=b"x")) as port:
        downloader, presigner = signing(port, refusals, download_attempts=3)
        async with downloader:
            try:
                made = (await downloader.fetch(SOURCE)).attempts
            except FetchError as exc:
                made = exc.attempts
    assert (made, presigner.signed) == (attempts, 3)


async def test_a_bucket_that_is_not_named_is_refused_without_a_request() -> None:
    async with Downloader(settings()) as downloader:
        with pytest.raises(FetchError) as caught:
            await downloader.fetch(SOURCE)
    assert (caught.value.reason, caught.value.attempts) == (Reason.URL_SCHEME, 0)
