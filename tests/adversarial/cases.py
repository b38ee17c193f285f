"""What a case is: a URL, what stands behind it, and what must become of it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from adversarial.internet import Answer, Internet, http, sends

from streamapp.reasons import Reason, Status

Make = Callable[[Internet], Awaitable[str]]
"""Sets up what stands behind the case's URL, and gives the URL."""

Content = Callable[[], bytes]
"""Makes a file; called when its case is run."""

SETTINGS: Mapping[str, Any] = {"download_attempts": 2, "retry_base_s": 0.0, "retry_max_s": 0.0}
"""Where the suite's settings are not the defaults: failures that can pass are tried twice, at once."""


@dataclass(frozen=True, slots=True)
class Case:
    """One trick and its outcome.

    Attributes:
        name: what the trick is, unique in the suite.
        make: sets the stage and gives the URL.
        status, reason: what the row says; no reason where the picture is decoded (STATUS 0).
        settings: in which the case differs from the suite's.
        times: how often the URL is obtained, by one worker; the last outcome counts.
        loader: of the decoder, ``package.module:name``.
    """

    name: str
    make: Make
    status: Status
    reason: Reason | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    times: int = 1
    loader: str = "streamapp.media.sandbox.decoder:load"


def url(name: str, text: str, reason: Reason, **settings: Any) -> Case:
    """A URL that must be refused; nothing stands behind it."""

    async def make(_: Internet) -> str:
        return text

    return Case(name, make, Status.NOT_AVAILABLE, reason, settings)


def resolved(name: str, host: str, answers: Sequence[Sequence[str]], reason: Reason, **settings: Any) -> Case:
    """A URL with a name whose DNS server is hostile."""

    async def make(internet: Internet) -> str:
        internet.names.answers[host] = list(answers)
        return f"http://{host}/a.png"

    return Case(name, make, Status.NOT_AVAILABLE, reason, settings)


def server(
    name: str,
    answer: Answer,
    reason: Reason | None,
    *,
    status: Status | None = None,
    scheme: str = "http",
    **settings: Any,
) -> Case:
    """An ordinary URL with a hostile server behind it; 403 is the STATUS unless another is given."""
    if status is None:
        status = Status.NOT_AVAILABLE if reason else Status.PREDICTED

    async def make(internet: Internet) -> str:
        await internet.serve(answer, port=443 if scheme == "https" else 80)
        return f"{scheme}://cdn.example/a.png"

    return Case(name, make, status, reason, settings)


def file(name: str, content: Content, status: Status, reason: Reason | None = None, **settings: Any) -> Case:
    """An ordinary URL and server, with a hostile file."""

    async def make(internet: Internet) -> str:
        await internet.serve(sends(http(content())))
        return "http://cdn.example/a.png"

    return Case(name, make, status, reason, settings)


def good(name: str, content: Content) -> Case:
    """A file that is decoded."""
    return file(name, content, Status.PREDICTED)


def no_media(name: str, content: Content, reason: Reason, **settings: Any) -> Case:
    """A file that is refused."""
    return file(name, content, Status.NOT_MEDIA, reason, **settings)


def broken(name: str, content: Content) -> Case:
    """A file that begins as one that is read, and is not whole or not sound."""
    return no_media(name, content, Reason.BROKEN_FILE)


def unknown(name: str, content: Content) -> Case:
    """A file of a kind that is not read."""
    return no_media(name, content, Reason.UNKNOWN_FORMAT)


def too_large(name: str, content: Content) -> Case:
    """A file of too many pixels."""
    return no_media(name, content, Reason.TOO_MANY_PIXELS)


def frameless(name: str, content: Content) -> Case:
    """A file in which there is no frame."""
    return file(name, content, Status.NO_KEY_FRAME, Reason.NO_KEY_FRAME)
