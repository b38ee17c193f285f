"""Redirects lead to what is checked like the event's own URL; those to addresses are with the addresses."""

from functools import partial
from typing import Any

from adversarial.cases import Case
from adversarial.crafted_pictures import png
from adversarial.internet import Internet, http, redirect, routes, sends, speaks_http

from streamapp.reasons import Reason, Status


async def _routed(paths: dict[str, bytes], internet: Internet) -> str:
    paths = {path: answer or http(png()) for path, answer in paths.items()}
    await internet.serve(routes(paths))
    await internet.serve(routes(paths), port=443)
    return "http://cdn.example/"


async def _to_plain_https(internet: Internet) -> str:
    await internet.serve(sends(redirect("https://cdn.example/")))
    await internet.serve(speaks_http, port=443)
    return "http://cdn.example/"


def _chain(name: str, paths: dict[str, bytes], reason: Reason | None = None, **settings: Any) -> Case:
    """Redirects from path to path; an empty answer stands for a picture."""
    status = Status.NOT_AVAILABLE if reason else Status.PREDICTED
    return Case(name, partial(_routed, paths), status, reason, settings)


def _to(name: str, location: str, reason: Reason, **settings: Any) -> Case:
    return _chain(f"redirect to {name}", {"/": redirect(location)}, reason, **settings)


CASES: tuple[Case, ...] = (
    _chain(
        "redirects up to the limit",
        {"/": redirect("/1"), "/1": redirect("/2"), "/2": redirect("/3"), "/3": b""},
    ),
    _chain(
        "redirect of each kind",
        {
            "/": redirect("/1", "301 Moved"),
            "/1": redirect("/2", "307 Temporary"),
            "/2": redirect("/3", "308 Permanent"),
            "/3": b"",
        },
    ),
    _chain(
        "redirect to the host's https port over http", {"/": redirect("http://cdn.example:443/1"), "/1": b""}
    ),
    _chain("redirect with a relative path", {"/": redirect("a/../b?c#d"), "/b?c": b""}),
    _chain(
        "redirect with a body", {"/": http(b"x" * 100_000, "Location: /1", status="302 Found"), "/1": b""}
    ),
    _chain(
        "redirects above the limit",
        {"/": redirect("/1"), "/1": redirect("/2"), "/2": redirect("/3"), "/3": redirect("/4"), "/4": b""},
        Reason.TOO_MANY_REDIRECTS,
    ),
    _chain("redirect to itself", {"/": redirect("/")}, Reason.TOO_MANY_REDIRECTS),
    _chain("loop of two redirects", {"/": redirect("/1"), "/1": redirect("/")}, Reason.TOO_MANY_REDIRECTS),
    _chain(
        "redirect where none is allowed",
        {"/": redirect("/1"), "/1": b""},
        Reason.TOO_MANY_REDIRECTS,
        max_redirects=0,
    ),
    _chain(
        "private address at the third hop",
        {"/": redirect("/1"), "/1": redirect("/2"), "/2": redirect("http://10.0.0.1/")},
        Reason.ADDRESS_BLOCKED,
    ),
    _to("a private address without a scheme", "//127.0.0.1/", Reason.ADDRESS_BLOCKED),
    _to("loopback on another port", "http://127.0.0.1:6379/", Reason.ADDRESS_BLOCKED),
    _to(
        "a host by full-width digits, in UTF-8 bytes",
        "http://\uff11\uff12\uff17.0.0.1/".encode().decode("latin-1"),
        Reason.ADDRESS_BLOCKED,
    ),
    _to("file:", "file:///etc/passwd", Reason.URL_SCHEME),
    _to("ftp:", "ftp://cdn.example/a.png", Reason.URL_SCHEME),
    _to("gopher:", "gopher://127.0.0.1:25/_HELO", Reason.URL_SCHEME),
    _to("data:", "data:image/png;base64,iVBORw0KGgo=", Reason.URL_SCHEME),
    _to("javascript:", "javascript:alert(1)", Reason.URL_SCHEME),
    _to("s3:, even of a listed bucket", "s3://pictures/key.png", Reason.URL_SCHEME, s3_buckets=("pictures",)),
    _to("a URL with credentials", "http://user:secret@cdn.example/", Reason.URL_CREDENTIALS),
    _to("a private address behind a user name", "http://cdn.example@127.0.0.1/", Reason.URL_CREDENTIALS),
    _to("port 22", "http://cdn.example:22/", Reason.URL_PORT),
    _to("a port above 65535", "http://cdn.example:70000/", Reason.URL_INVALID),
    _to("brackets in the wrong order", "http://]@[@", Reason.URL_INVALID),
    _to("IPv6 with two compressions", "http://[::1::]/", Reason.URL_INVALID),
    _to("a broken URL", "http://[", Reason.URL_INVALID),
    _chain("redirect to a scheme and a path, which is relative", {"/": redirect("http:///1"), "/1": b""}),
    _to("a backslash before an at", "http://cdn.example\\@127.0.0.1/", Reason.URL_INVALID),
    _to("a path of 9,000 characters", "/" + "a" * 9000, Reason.BAD_RESPONSE),
    _to(
        "a host that is not on the allow-list",
        "http://other.example/",
        Reason.HOST_NOT_ALLOWED,
        allowed_hosts=("cdn.example",),
    ),
    _to(
        "a host on the block-list",
        "http://evil.example/",
        Reason.HOST_BLOCKED,
        blocked_hosts=("evil.example",),
    ),
    _to("a name that does not exist", "http://missing.example/", Reason.HOST_UNKNOWN),
    Case("redirect to https where http is spoken", _to_plain_https, Status.NOT_AVAILABLE, Reason.TLS_FAILED),
    _to("nowhere", "", Reason.BAD_RESPONSE),
    _chain("redirect without a Location", {"/": http(b"", status="302 Found")}, Reason.BAD_RESPONSE),
    _chain(
        "status 300 with a Location",
        {"/": redirect("/1", "300 Multiple Choices"), "/1": b""},
        Reason.BAD_RESPONSE,
    ),
    _chain("status 304", {"/": b"HTTP/1.1 304 Not Modified\r\n\r\n"}, Reason.BAD_RESPONSE),
)
