"""The downloader against real servers on loopback, well-behaved and not."""

import asyncio
import logging
import shutil
import socket
import ssl
import subprocess
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from loopback import LOOPBACK, ListedResolver, Waits, answers_with, sending, serving, settings

from streamapp.errors import FetchError
from streamapp.fetch.connecting import BlockedAddressError, GuardedResolver, GuardedSockets, requested_host
from streamapp.fetch.downloader import Downloader
from streamapp.fetch.guard import Rules
from streamapp.reasons import Reason
from streamapp.settings import Settings


async def fetch_failure(url: str, **changes: Any) -> FetchError:
    async with Downloader(settings(**changes), sleep=Waits()) as downloader:
        with pytest.raises(FetchError) as caught:
            await downloader.fetch(url)
    return caught.value


async def redirect_to_query(request: web.Request) -> web.Response:
    return web.Response(status=302, headers={"Location": request.query["to"]})


async def test_a_file_is_fetched_as_the_server_sent_it() -> None:
    seen: dict[str, str] = {}

    async def respond(request: web.Request) -> web.Response:
        seen.update(request.headers)
        return web.Response(body=b"\x89PNG" * 1000, headers={"Set-Cookie": "a=b"})

    async with serving(respond) as port, Downloader(settings()) as downloader:
        for _ in range(2):
            download = await downloader.fetch(f"http://{LOOPBACK}:{port}/a.png")
    assert download.content == b"\x89PNG" * 1000
    assert download.url == f"http://{LOOPBACK}:{port}/a.png"
    assert download.attempts == 1
    assert download.fetch_s > 0
    assert seen["User-Agent"].startswith("streamapp/")
    assert seen["Accept-Encoding"] == "identity"
    assert "Cookie" not in seen


async def test_an_environment_proxy_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://{LOOPBACK}:1")
    async with serving(answers_with(body=b"x")) as port, Downloader(settings()) as downloader:
        assert (await downloader.fetch(f"http://{LOOPBACK}:{port}/")).content == b"x"


async def test_private_hosts_are_named_in_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "streamapp.fetch"):
        async with Downloader(settings()), Downloader(settings(allow_private_hosts=())):
            pass
    assert [LOOPBACK in record.getMessage() for record in caplog.records] == [True]


@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.2/",
        "http://127.0.0.2:{port}/",
        "http://169.254.169.254/latest/meta-data/",
        "http://2130706433:{port}/",
        "http://[::1]:{port}/",
        "http://localhost:{port}/",
        "//127.0.0.2/",
    ],
)
async def test_a_redirect_to_a_private_address_is_refused(target: str) -> None:
    async with serving(redirect_to_query) as port:
        failure = await fetch_failure(f"http://{LOOPBACK}:{port}/?to=" + target.format(port=port))
    assert failure.reason is Reason.ADDRESS_BLOCKED
    assert failure.attempts == 1


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("file:///etc/passwd", Reason.URL_SCHEME),
        ("http://user:secret@127.0.0.1/", Reason.URL_CREDENTIALS),
        ("http://8.8.8.8:22/", Reason.URL_PORT),
        ("http://[/", Reason.URL_INVALID),
        ("http://]@[@", Reason.URL_INVALID),
        ("http://[::1::]/", Reason.URL_INVALID),
        ("", Reason.BAD_RESPONSE),
    ],
)
async def test_a_redirect_is_checked_like_the_url(target: str, reason: Reason) -> None:
    async with serving(redirect_to_query) as port:
        assert (await fetch_failure(f"http://{LOOPBACK}:{port}/?to={target}")).reason is reason


async def test_redirects_are_followed_up_to_the_limit() -> None:
    async def respond(request: web.Request) -> web.Response:
        left = int(request.path[1:])
        return (
            web.Response(body=b"x")
            if not left
            else web.Response(status=307, headers={"Location": str(left - 1)})
        )

    async with serving(respond) as port:
        async with Downloader(settings(max_redirects=3)) as downloader:
            download = await downloader.fetch(f"http://{LOOPBACK}:{port}/3")
        failure = await fetch_failure(f"http://{LOOPBACK}:{port}/4", max_redirects=3)
    assert download.url.endswith("/0")
    assert failure.reason is Reason.TOO_MANY_REDIRECTS


@pytest.mark.parametrize("addresses", [["127.0.0.2"], ["8.8.8.8", "10.0.0.1"]])
async def test_a_name_that_resolves_to_a_private_address_is_refused(addresses: list[str]) -> None:
    resolver = ListedResolver(cdn=[addresses])
    async with Downloader(settings(), resolver=resolver) as downloader:
        with pytest.raises(FetchError) as caught:
            await downloader.fetch("http://cdn.example/")
    assert caught.value.reason is Reason.ADDRESS_BLOCKED


async def test_a_name_that_turns_private_after_the_first_answer_is_refused() -> None:
    # The second port makes a second lookup, as an expired cache entry would.
    async with AsyncExitStack() as stack:
        inner = await stack.enter_async_context(serving(answers_with(body=b"secret")))

        async def respond(_: web.Request) -> web.Response:
            return web.Response(status=302, headers={"Location": f"http://cdn.example:{inner}/"})

        outer = await stack.enter_async_context(serving(respond))
        resolver = ListedResolver(cdn=[[LOOPBACK], ["127.0.0.2"]])
        ports = (str(inner), str(outer))
        downloader = await stack.enter_async_context(
            Downloader(settings(allowed_ports=ports), resolver=resolver)
        )
        with pytest.raises(FetchError) as caught:
            await downloader.fetch(f"http://cdn.example:{outer}/")
    assert caught.value.reason is Reason.ADDRESS_BLOCKED


async def test_the_resolver_guard_refuses_the_private_answer_of_a_rebinding_name() -> None:
    resolver = GuardedResolver(ListedResolver(cdn=[["93.184.215.14"], ["127.0.0.1"]]), Rules())
    assert (await resolver.resolve("cdn.example"))[0]["host"] == "93.184.215.14"
    with pytest.raises(BlockedAddressError):
        await resolver.resolve("cdn.example")


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:10.0.0.1", "fe80::1%lo"])
def test_the_socket_guard_refuses_whatever_the_resolver_let_through(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with pytest.raises(BlockedAddressError):
        GuardedSockets(Rules())((family, socket.SOCK_STREAM, 0, "", (address, 80)))


async def test_the_socket_guard_alone_stops_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GuardedResolver, "resolve", ListedResolver(cdn=[["127.0.0.2", "127.0.0.3"]]).resolve)
    assert (await fetch_failure("http://cdn.example/")).reason is Reason.ADDRESS_BLOCKED


async def test_a_named_private_host_is_reached_by_its_name() -> None:
    resolver = ListedResolver(minio=[[LOOPBACK]])
    async with (
        serving(answers_with(body=b"x")) as port,
        Downloader(settings(allow_private_hosts=("MINIO.internal",)), resolver=resolver) as downloader,
    ):
        assert (await downloader.fetch(f"http://minio.internal:{port}/")).content == b"x"
        # The exemption is the name's, not the address's.
        with pytest.raises(FetchError) as caught:
            await downloader.fetch(f"http://{LOOPBACK}:{port}/")
    assert caught.value.reason is Reason.ADDRESS_BLOCKED
    assert requested_host.get() == "minio.internal"


@pytest.mark.parametrize("resolved", [[], ["not-an-address"]])
async def test_a_useless_dns_answer_is_a_reason_and_no_crash(resolved: list[str]) -> None:
    async with Downloader(settings(), resolver=ListedResolver(cdn=[resolved])) as downloader:
        with pytest.raises(FetchError):
            await downloader.fetch("http://cdn.example/")


async def test_an_error_that_the_client_does_not_declare_ends_the_event_and_not_the_worker(
    caplog: pytest.LogCaptureFixture,
) -> None:
    # The resolver of this name raises KeyError, which the client lets through.
    async with Downloader(settings(), resolver=ListedResolver()) as downloader:
        with pytest.raises(FetchError) as caught:
            await downloader.fetch("http://cdn.example/")
    assert caught.value.reason is Reason.BAD_RESPONSE
    assert isinstance(caught.value.__cause__.__cause__ if caught.value.__cause__ else None, KeyError)
    assert [record.exc_info is not None for record in caplog.records if "bug" in record.getMessage()] == [
        True
    ]


@pytest.mark.parametrize("has_length", [True, False])
async def test_a_file_over_the_limit_is_refused_by_its_header_or_by_counting(has_length: bool) -> None:
    sent = 0

    async def respond(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        if has_length:
            response.content_length = 10**9
        await response.prepare(request)
        while not has_length and sent < 10**9:
            await response.write(bytes(10_000))
            sent += 10_000
        return response

    async with serving(respond) as port:
        failure = await fetch_failure(f"http://{LOOPBACK}:{port}/", max_download_bytes=50_000)
    assert failure.reason is Reason.TOO_LARGE
    assert sent < 10**8


async def test_a_file_of_exactly_the_limit_passes() -> None:
    async with (
        serving(answers_with(body=bytes(1000))) as port,
        Downloader(settings(max_download_bytes=1000)) as downloader,
    ):
        assert len((await downloader.fetch(f"http://{LOOPBACK}:{port}/")).content) == 1000


@pytest.mark.parametrize(
    ("data", "reason", "is_retriable"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", Reason.BAD_RESPONSE, True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", Reason.BAD_RESPONSE, True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nab", Reason.BAD_RESPONSE, False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: ten\r\n\r\n", Reason.BAD_RESPONSE, False),
        (
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx",
            Reason.BAD_RESPONSE,
            False,
        ),
        (b"HTTP/1.1 200 OK\r\nX-Long: " + b"a" * 10_000 + b"\r\n\r\n", Reason.BAD_RESPONSE, False),
        (b"HTTP/1.1 200 OK\r\n" + b"X-Many: a\r\n" * 500 + b"\r\n", Reason.BAD_RESPONSE, False),
        (b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", Reason.BAD_RESPONSE, False),
        (b"HTTP/1.1 302 Found\r\nLocation: http://\xff\xfe/\r\n\r\n", Reason.URL_INVALID, False),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", Reason.BAD_RESPONSE, False),
        (b"", Reason.CONNECTION_FAILED, True),
    ],
)
async def test_an_answer_that_breaks_the_protocol_has_a_reason(
    data: bytes, reason: Reason, is_retriable: bool
) -> None:
    async with sending(data) as port:
        failure = await fetch_failure(f"http://{LOOPBACK}:{port}/")
    assert (failure.reason, failure.is_retriable) == (reason, is_retriable)


@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nstart"])
@pytest.mark.parametrize("limit", ["read_timeout_s", "download_timeout_s"])
async def test_a_server_that_falls_silent_times_out(data: bytes, limit: str) -> None:
    async with sending(data, then_hang=True) as port:
        failure = await fetch_failure(f"http://{LOOPBACK}:{port}/", **{limit: 0.05})
    assert (failure.reason, failure.is_retriable) == (Reason.TIMEOUT, True)


async def test_a_server_that_drips_is_cut_off_by_the_time_limit() -> None:
    async def respond(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(1000):
            await response.write(b"x")
            await asyncio.sleep(0.01)
        return response

    async with serving(respond) as port:
        failure = await fetch_failure(f"http://{LOOPBACK}:{port}/", download_timeout_s=0.1, read_timeout_s=5)
    assert failure.reason is Reason.TIMEOUT


async def test_a_refused_connection_is_retried() -> None:
    with socket.socket() as unused:
        unused.bind((LOOPBACK, 0))
        failure = await fetch_failure(f"http://{LOOPBACK}:{unused.getsockname()[1]}/", download_attempts=3)
    assert (failure.reason, failure.attempts) == (Reason.CONNECTION_FAILED, 3)


async def test_a_server_that_recovers_is_asked_again_after_growing_waits() -> None:
    statuses = iter([503, 429, 408, 200])

    async def respond(_: web.Request) -> web.Response:
        return web.Response(status=next(statuses), body=b"x")

    waits = Waits()
    chosen = settings(download_attempts=4, retry_base_s=1, retry_max_s=20)
    async with (
        serving(respond) as port,
        Downloader(chosen, sleep=waits, random=lambda: 0.5) as downloader,
    ):
        download = await downloader.fetch(f"http://{LOOPBACK}:{port}/")
    assert download.attempts == 4
    assert waits.seconds == [1.0, 2.0, 4.0]


@pytest.mark.parametrize(("asked", "waited_s"), [("3", 3.0), ("3600", 20.0)])
async def test_retry_after_is_obeyed_up_to_the_longest_wait(asked: str, waited_s: float) -> None:
    waits = Waits()
    chosen = settings(download_attempts=2, retry_max_s=20)
    respond = answers_with(status=429, headers={"Retry-After": asked})
    async with serving(respond) as port, Downloader(chosen, sleep=waits, random=lambda: 0.0) as downloader:
        with pytest.raises(FetchError) as caught:
            await downloader.fetch(f"http://{LOOPBACK}:{port}/")
    assert (caught.value.reason, caught.value.attempts) == (Reason.RATE_LIMITED, 2)
    assert waits.seconds == [waited_s]


@pytest.mark.parametrize("status", [401, 403, 404, 410])
async def test_a_final_answer_is_asked_for_once(status: int) -> None:
    async with serving(answers_with(status=status)) as port:
        failure = await fetch_failure(f"http://{LOOPBACK}:{port}/", download_attempts=4)
    assert (failure.attempts, failure.is_retriable) == (1, False)


async def test_the_old_deployments_five_attempts_half_a_minute_apart_are_a_setting() -> None:
    waits = Waits()
    chosen = settings(download_attempts=5, retry_base_s=30, retry_max_s=60, fetch_deadline_s=360)
    # Each wait is between 0 and 60 s, 30 s on average: jitter keeps a crowd from coming back at once.
    async with (
        serving(answers_with(status=503)) as port,
        Downloader(chosen, sleep=waits, random=lambda: 0.5) as downloader,
    ):
        with pytest.raises(FetchError) as caught:
            await downloader.fetch(f"http://{LOOPBACK}:{port}/")
    assert caught.value.attempts == 5
    assert waits.seconds == [30.0] * 4
    longest_s = chosen.download_attempts * chosen.download_timeout_s + 4 * chosen.retry_max_s
    assert longest_s <= chosen.fetch_deadline_s


def test_by_default_a_file_is_had_or_given_up_within_two_minutes() -> None:
    assert Settings().fetch_deadline_s <= 120


async def test_an_event_that_waits_for_its_retry_holds_no_slot() -> None:
    async def respond(request: web.Request) -> web.Response:
        return web.Response(status=503 if request.path == "/failing" else 200, body=b"x")

    waiting, go_on = asyncio.Event(), asyncio.Event()

    async def sleep(_: float) -> None:
        waiting.set()
        async with asyncio.timeout(10):
            await go_on.wait()

    chosen = settings(downloads_in_flight=1, downloads_per_host=1, download_attempts=2)
    async with (
        asyncio.timeout(10),
        serving(respond) as port,
        Downloader(chosen, sleep=sleep) as downloader,
    ):
        failing = asyncio.create_task(downloader.fetch(f"http://{LOOPBACK}:{port}/failing"))
        await waiting.wait()
        assert (await downloader.fetch(f"http://{LOOPBACK}:{port}/ok")).content == b"x"
        go_on.set()
        with pytest.raises(FetchError):
            await failing


async def test_no_connection_is_left_behind_by_failures() -> None:
    async with (
        sending(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + bytes(500), then_hang=True) as port,
        Downloader(settings(max_download_bytes=100, downloads_in_flight=2)) as downloader,
    ):
        for _ in range(5):
            with pytest.raises(FetchError):
                await downloader.fetch(f"http://{LOOPBACK}:{port}/")
        assert downloader._sessions is not None
        for is_kept_alive in (True, False):
            connector = downloader._sessions.of(is_kept_alive=is_kept_alive).connector
            assert connector is not None
            assert not connector._acquired
            assert not connector._conns


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate with the openssl command")
async def test_a_certificate_that_nobody_signed_is_refused_and_not_retried(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
            ),
            *("-days", "1", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)
    async with serving(answers_with(body=b"x"), tls) as port:
        failure = await fetch_failure(f"https://{LOOPBACK}:{port}/", download_attempts=3)
    assert (failure.reason, failure.attempts) == (Reason.TLS_FAILED, 1)


async def test_http_spoken_on_an_https_port_is_a_tls_failure() -> None:
    async with serving(answers_with(body=b"x")) as port:
        assert (await fetch_failure(f"https://{LOOPBACK}:{port}/")).reason is Reason.TLS_FAILED


async def never(_: float) -> None:
    await asyncio.Event().wait()


async def deadline_failure(url: str, **changes: Any) -> FetchError:
    chosen = settings(**({"download_attempts": 4, "fetch_deadline_s": 0.1} | changes))
    async with asyncio.timeout(10), Downloader(chosen, sleep=never) as downloader:
        with pytest.raises(FetchError) as caught:
            await downloader.fetch(url)
    return caught.value


async def test_the_deadline_ends_an_attempt() -> None:
    async with sending(b"", then_hang=True) as port:
        failure = await deadline_failure(f"http://{LOOPBACK}:{port}/")
    assert (failure.reason, failure.attempts) == (Reason.TIMEOUT, 1)


async def test_the_deadline_ends_a_wait_between_attempts() -> None:
    async with serving(answers_with(status=503)) as port:
        failure = await deadline_failure(f"http://{LOOPBACK}:{port}/", retry_base_s=0)
    assert (failure.reason, failure.attempts) == (Reason.TIMEOUT, 1)


async def test_a_wait_that_would_outlast_the_deadline_is_not_begun_and_the_servers_answer_is_the_reason() -> (
    None
):
    async with serving(answers_with(status=503, headers={"Retry-After": "20"})) as port:
        failure = await deadline_failure(f"http://{LOOPBACK}:{port}/", fetch_deadline_s=15)
    assert (failure.reason, failure.attempts) == (Reason.SERVER_ERROR, 1)
    assert "no time left" in str(failure)


async def test_the_deadline_covers_all_redirects() -> None:
    async def respond(_: web.Request) -> web.Response:
        await asyncio.sleep(0.05)
        return web.Response(status=302, headers={"Location": "/"})

    async with serving(respond) as port:
        failure = await deadline_failure(f"http://{LOOPBACK}:{port}/", max_redirects=20)
    assert (failure.reason, failure.attempts) == (Reason.TIMEOUT, 1)


async def test_the_deadline_ends_a_wait_for_a_slot_in_which_nothing_was_requested() -> None:
    chosen = settings(downloads_per_host=1, fetch_deadline_s=0.05)
    async with (
        asyncio.timeout(10),
        Downloader(chosen) as downloader,
        downloader._limits.entered(LOOPBACK, 1.0),
    ):
        with pytest.raises(FetchError) as caught:
            await downloader.fetch(f"http://{LOOPBACK}/")
    assert (caught.value.reason, caught.value.attempts) == (Reason.TIMEOUT, 0)


async def test_a_fetch_that_is_cancelled_is_no_timeout() -> None:
    is_asked = asyncio.Event()

    async def respond(_: web.Request) -> web.Response:
        is_asked.set()
        await never(0)
        raise AssertionError

    async with asyncio.timeout(10), serving(respond) as port, Downloader(settings()) as downloader:
        fetching = asyncio.create_task(downloader.fetch(f"http://{LOOPBACK}:{port}/"))
        await is_asked.wait()
        fetching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await fetching
