"""What a server's answer is worth: the file, another URL, or an error."""

from datetime import UTC, datetime

import aiohttp
from yarl import URL

from streamapp.errors import FetchError
from streamapp.fetch.guard import URL_ERRORS
from streamapp.fetch.retry import parse_retry_after, refused_status
from streamapp.fetch.steps import StepKind, tell
from streamapp.reasons import Reason

_REDIRECTS = (301, 302, 303, 307, 308)


async def read_answer(
    url: URL, response: aiohttp.ClientResponse, max_bytes: int, *, is_signed: bool
) -> bytes | URL:
    """The body, or the URL that the answer redirects to, which is not yet checked.

    Args:
        url: what was asked for.
        response: its headers are in.
        max_bytes: of the body, which is counted while it comes in.
        is_signed: the URL is one for S3. Where it redirects to is neither asked nor shown.

    Raises:
        FetchError: the answer is neither, or the file is too large.
    """
    tell(
        StepKind.RESPONSE,
        "HTTP %d, Content-Type %.80r, Content-Length %s",
        response.status,
        response.headers.get("Content-Type", ""),
        response.content_length,
    )
    if response.status in _REDIRECTS:
        if is_signed:
            message = f"S3 answered with HTTP status {response.status}: the bucket is in another region."
            raise FetchError(Reason.TOO_MANY_REDIRECTS, message)
        return _redirect_target(url, response)
    _check_headers(response, max_bytes)
    return await _read_body(response, max_bytes)


def _redirect_target(url: URL, response: aiohttp.ClientResponse) -> URL:
    location = response.headers.get("Location")
    if not location:
        raise FetchError(Reason.BAD_RESPONSE, f"HTTP status {response.status} without a Location.")
    tell(StepKind.REDIRECT, "to %.200r", location)
    try:
        # Written out and read again: some of what is no URL is only noticed then.
        return URL(str(url.join(URL(location))))
    except URL_ERRORS as exc:
        raise FetchError(
            Reason.URL_INVALID, f"It redirects to {location!r:.80}, which is not a URL."
        ) from exc


def _check_headers(response: aiohttp.ClientResponse, max_bytes: int) -> None:
    """Refuse what the headers alone tell: a status without the file, a coding, too many bytes."""
    if not 200 <= response.status <= 299 or response.status == 206:
        retry_after_s = parse_retry_after(response.headers.get("Retry-After"), datetime.now(UTC))
        raise refused_status(response.status, retry_after_s)
    coding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if coding not in ("", "identity"):
        raise FetchError(Reason.BAD_RESPONSE, f"The server sent {coding!r:.40} though not asked to.")
    # Only a hint: the bytes are counted as well.
    if response.content_length is not None and response.content_length > max_bytes:
        raise _too_large(max_bytes)


async def _read_body(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    chunks, size_bytes = [], 0
    async for chunk in response.content.iter_any():
        chunks.append(chunk)
        size_bytes += len(chunk)
        if size_bytes > max_bytes:
            raise _too_large(max_bytes)
    tell(StepKind.BODY, "%d bytes", size_bytes)
    return b"".join(chunks)


def _too_large(max_bytes: int) -> FetchError:
    return FetchError(Reason.TOO_LARGE, f"The file has more than {max_bytes} bytes.")
