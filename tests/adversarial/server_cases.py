"""Servers that are slow, endless, broken or lie, behind a URL that is in order."""

import asyncio
import gzip
import zlib
from functools import partial
from typing import Any

from adversarial.cases import Case, server
from adversarial.certificates import CERTIFICATES
from adversarial.crafted_pictures import png
from adversarial.internet import Answer, Internet, drips, http, sends, speaks_http

from streamapp.reasons import Reason, Status

_HEAD = b"HTTP/1.1 200 OK\r\n"
_CHUNKED = _HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
_ENDLESS = _HEAD + b"Connection: close\r\n\r\n"
# Far shorter than a case may last, and far longer than an answer from loopback takes to begin.
_SILENCE: dict[str, Any] = {"read_timeout_s": 0.15, "download_attempts": 1}
_WHOLE: dict[str, Any] = {"download_timeout_s": 0.15, "download_attempts": 1}
_BOMB = gzip.compress(bytes(2**20))
_SMALL: dict[str, Any] = {"max_download_bytes": 100_000}


async def _without_a_word(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
    """Close as soon as somebody connects."""


async def _early_words(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer before the request."""
    writer.write(http(status="408 Request Timeout"))
    await reader.readuntil(b"\r\n\r\n")


async def _alert(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Refuse the TLS handshake with an alert: level fatal, handshake_failure."""
    writer.write(b"\x15\x03\x03\x00\x02\x02\x28")
    await writer.drain()


async def _deaf(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    """Take what comes, and never answer."""
    while await reader.read(65536):
        pass


async def _refused(internet: Internet) -> str:
    internet.refuse()
    return "http://cdn.example/a.png"


async def _down(internet: Internet) -> str:
    await internet.serve(sends(http(status="503 Service Unavailable")))
    return "http://cdn.example/a.png"


async def _never_accepted(internet: Internet) -> str:
    internet.never_accept()
    return "http://cdn.example/a.png"


async def _with_certificate(which: str, internet: Internet) -> str:
    await internet.serve(sends(http(png())), port=443, tls=CERTIFICATES[which]())
    return "https://cdn.example/a.png"


def _broken(name: str, data: bytes) -> Case:
    return server(name, sends(data), Reason.BAD_RESPONSE)


def _status(status: str, reason: Reason) -> Case:
    return server(f"status {status}", sends(http(b"no", status=status)), reason)


def _tls(name: str, answer: Answer, reason: Reason = Reason.TLS_FAILED, **settings: Any) -> Case:
    return server(name, answer, reason, scheme="https", **settings)


CASES: tuple[Case, ...] = (
    # Slow.
    server("silence instead of an answer", sends(b"", then_hang=True), Reason.TIMEOUT, **_SILENCE),
    server(
        "silence in the middle of the headers",
        sends(_HEAD + b"X-A: b", then_hang=True),
        Reason.TIMEOUT,
        **_SILENCE,
    ),
    server(
        "silence in the middle of the body",
        sends(http(b"x", content_length=9), then_hang=True),
        Reason.TIMEOUT,
        **_SILENCE,
    ),
    server(
        "silence in the middle of a chunk",
        sends(_CHUNKED + b"5\r\nab", then_hang=True),
        Reason.TIMEOUT,
        **_SILENCE,
    ),
    server("a header that drips", drips(_HEAD + b"X-Long: ", b"a"), Reason.TIMEOUT, **_WHOLE),
    server("headers that drip", drips(_HEAD, b"X-A: b\r\n"), Reason.TIMEOUT, **_WHOLE),
    server("a body that drips", drips(_ENDLESS, b"a"), Reason.TIMEOUT, **_WHOLE),
    server(
        "a body that drips byte by byte in chunks", drips(_CHUNKED, b"1\r\na\r\n"), Reason.TIMEOUT, **_WHOLE
    ),
    server(
        "an endless row of status 100", drips(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), Reason.TIMEOUT, **_WHOLE
    ),
    server(
        "an endless row of status 103",
        drips(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
        Reason.TIMEOUT,
        **_WHOLE,
    ),
    server("a server that only listens", _deaf, Reason.TIMEOUT, **_SILENCE),
    Case(
        "a server that never accepts",
        _never_accepted,
        Status.NOT_AVAILABLE,
        Reason.TIMEOUT,
        {"connect_timeout_s": 0.15, "download_attempts": 1},
    ),
    # Endless and large.
    server("an endless body", drips(_ENDLESS, bytes(65536), 0), Reason.TOO_LARGE, **_SMALL),
    server(
        "an endless body in chunks",
        drips(_CHUNKED, b"10000\r\n" + bytes(65536) + b"\r\n", 0),
        Reason.TOO_LARGE,
        **_SMALL,
    ),
    server(
        "a Content-Length above the limit",
        sends(http(b"x", content_length=10**9), then_hang=True),
        Reason.TOO_LARGE,
    ),
    server("a Content-Length of 2^63", sends(http(b"x", content_length=2**63)), Reason.TOO_LARGE),
    server(
        "a chunk that claims 2^60 bytes",
        drips(_CHUNKED + b"fffffffffffffff\r\n", bytes(65536), 0),
        Reason.TOO_LARGE,
        **_SMALL,
    ),
    server("one byte more than the limit", sends(http(bytes(100_001))), Reason.TOO_LARGE, **_SMALL),
    server("a body whose end is that of the connection", sends(_ENDLESS + png()), None),
    server("a gzip bomb", sends(http(_BOMB, "Content-Encoding: gzip")), Reason.BAD_RESPONSE),
    server(
        "a deflate bomb",
        sends(http(zlib.compress(bytes(2**20)), "Content-Encoding: deflate")),
        Reason.BAD_RESPONSE,
    ),
    server(
        "a coding of several layers",
        sends(http(b"x", "Content-Encoding: gzip, gzip, br")),
        Reason.BAD_RESPONSE,
    ),
    server(
        "gzip as a Transfer-Encoding",
        sends(_HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"),
        Reason.UNKNOWN_FORMAT,
        status=Status.NOT_MEDIA,
    ),
    server(
        "a gzip bomb without its header",
        sends(http(_BOMB)),
        Reason.UNKNOWN_FORMAT,
        status=Status.NOT_MEDIA,
    ),
    # Broken HTTP.
    _broken("a body shorter than its length", http(b"short", content_length=100)),
    _broken("a body longer than its length", http(png() + b"more", content_length=len(png()))),
    _broken("a Content-Length in letters", http(b"x", content_length="ten")),
    _broken("a negative Content-Length", http(b"x", content_length=-1)),
    _broken("a Content-Length with a plus", http(b"x", content_length="+1")),
    _broken("two Content-Lengths", http(b"x", "Content-Length: 2")),
    _broken("Content-Length and chunks", http(b"1\r\nx\r\n0\r\n\r\n", "Transfer-Encoding: chunked")),
    _broken("a chunk without its end", _CHUNKED + b"5\r\nab"),
    _broken("a chunk length in letters", _CHUNKED + b"xyz\r\nab\r\n"),
    _broken("a negative chunk length", _CHUNKED + b"-1\r\nab\r\n"),
    _broken("a chunk longer than its length", _CHUNKED + b"2\r\nabcdef\r\n0\r\n\r\n"),
    _broken("chunks without a last one", _CHUNKED + b"2\r\nab\r\n"),
    _broken("a header of 10,000 characters", _HEAD + b"X-Long: " + b"a" * 10_000 + b"\r\n\r\n"),
    _broken("500 headers", _HEAD + b"X-Many: a\r\n" * 500 + b"\r\n"),
    _broken("a reason phrase of 10,000 characters", b"HTTP/1.1 200 " + b"a" * 10_000 + b"\r\n\r\n"),
    _broken("a header without a colon", _HEAD + b"X-Nothing\r\n\r\n"),
    _broken("a null in a header", _HEAD + b"X-Null: a\0b\r\n\r\n"),
    _broken("a status of four digits", b"HTTP/1.1 2000 OK\r\n\r\n"),
    _broken("HTTP/0.9", b"<html>no headers</html>"),
    _broken("HTTP/3 in letters", b"HTTP/3.0 200 OK\r\n\r\n"),
    _broken("another protocol", b"SSH-2.0-OpenSSH_9.6\r\n\r\n"),
    _broken("a switch of protocols", http(status="101 Switching Protocols")),
    _broken(
        "part of the file", http(png()[:50], "Content-Range: bytes 0-49/200", status="206 Partial Content")
    ),
    # Connections.
    Case("nobody listens", _refused, Status.NOT_AVAILABLE, Reason.CONNECTION_FAILED),
    server("a close without a word", _without_a_word, Reason.CONNECTION_FAILED),
    server("a close after the request", sends(b""), Reason.CONNECTION_FAILED),
    server("a close in the middle of the headers", sends(_HEAD + b"X-A"), Reason.CONNECTION_FAILED),
    server("a reset instead of an answer", sends(b"", reset=True), Reason.CONNECTION_FAILED),
    server(
        "a reset in the middle of the body",
        sends(http(b"x", content_length=9), reset=True),
        Reason.BAD_RESPONSE,
    ),
    server("an answer before the request", _early_words, Reason.TIMEOUT),
    # TLS.
    _tls("http on the https port", speaks_http),
    _tls("a TLS alert", _alert),
    _tls("a close in the TLS handshake", _without_a_word, Reason.CONNECTION_FAILED),
    _tls("a TLS handshake that hangs", _deaf, Reason.TIMEOUT, connect_timeout_s=0.15, download_attempts=1),
    Case("a certificate that is in order", partial(_with_certificate, "good"), Status.PREDICTED),
    *(
        Case(
            f"a certificate {what}",
            partial(_with_certificate, which),
            Status.NOT_AVAILABLE,
            Reason.TLS_FAILED,
        )
        for what, which in (
            ("that nobody signed", "self-signed"),
            ("for another host", "other-host"),
            ("that has expired", "expired"),
            ("that is not valid yet", "future"),
        )
    ),
    # Statuses.
    _status("404 Not Found", Reason.NOT_FOUND),
    _status("410 Gone", Reason.NOT_FOUND),
    _status("400 Bad Request", Reason.REFUSED),
    _status("401 Unauthorized", Reason.REFUSED),
    _status("403 Forbidden", Reason.REFUSED),
    _status("407 Proxy Authentication Required", Reason.REFUSED),
    _status("451 Unavailable For Legal Reasons", Reason.REFUSED),
    _status("408 Request Timeout", Reason.TIMEOUT),
    _status("429 Too Many Requests", Reason.RATE_LIMITED),
    server(
        "status 429 with a Retry-After of a year",
        sends(http(b"", "Retry-After: 31536000", status="429 Slow Down")),
        Reason.RATE_LIMITED,
    ),
    _status("500 Internal Server Error", Reason.SERVER_ERROR),
    _status("503 Service Unavailable", Reason.SERVER_ERROR),
    _status("599 Own Invention", Reason.SERVER_ERROR),
    _status("600 Beyond", Reason.BAD_RESPONSE),
    Case(
        "a host that failed once too often, asked again",
        _down,
        Status.NOT_AVAILABLE,
        Reason.CIRCUIT_OPEN,
        {"breaker_failures": 1},
        times=2,
    ),
    # What is no picture.
    server(
        "status 204", sends(b"HTTP/1.1 204 No Content\r\n\r\n"), Reason.EMPTY_FILE, status=Status.NOT_MEDIA
    ),
    server("status 200 without a body", sends(http(b"")), Reason.EMPTY_FILE, status=Status.NOT_MEDIA),
    server(
        "status 200 with an HTML page",
        sends(http(b"<!doctype html><title>Not found</title>", "Content-Type: text/html")),
        Reason.UNKNOWN_FORMAT,
        status=Status.NOT_MEDIA,
    ),
    server(
        "an HTML page that calls itself a JPEG",
        sends(http(b"<html><script>alert(1)</script></html>", "Content-Type: image/jpeg")),
        Reason.UNKNOWN_FORMAT,
        status=Status.NOT_MEDIA,
    ),
    server(
        "a page that refreshes to a private address",
        sends(http(b"<html>", "Refresh: 0; url=http://127.0.0.1/")),
        Reason.UNKNOWN_FORMAT,
        status=Status.NOT_MEDIA,
    ),
    server(
        "a picture that calls itself HTML",
        sends(http(png(), "Content-Type: text/html")),
        None,
    ),
    server(
        "a picture offered as a download",
        sends(http(png(), "Content-Disposition: attachment; filename=a.exe")),
        None,
    ),
    server(
        "cookies and a strict transport policy",
        sends(http(png(), "Set-Cookie: a=b; Domain=.example", "Strict-Transport-Security: max-age=1")),
        None,
    ),
)
