"""The downloader: a URL in, the file's bytes out, within limits and away from private networks."""

import asyncio
import logging
import random as random_module
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from streamapp import __version__
from streamapp.errors import FetchError
from streamapp.fetch.connecting import GuardedResolver, GuardedSockets, ThreadResolver, requested_host
from streamapp.fetch.guard import Rules, check_url
from streamapp.fetch.retry import backoff_s, parse_retry_after, refused_status
from streamapp.fetch.slots import Slots
from streamapp.fetch.translation import TRANSLATED, translate
from streamapp.reasons import Reason
from streamapp.settings import Settings

log = logging.getLogger(__name__)

_REDIRECTS = (301, 302, 303, 307, 308)
_MAX_HEADER_BYTES = 8190
_MAX_HEADERS = 128


@dataclass(frozen=True, slots=True)
class Download:
    """A file that was fetched.

    Attributes:
        content: the file's bytes, as the server sent them.
        url: where they came from in the end, after redirects.
        attempts: requests for the event's URL, the successful one included; redirects not counted.
        fetch_s: seconds from the call to the last byte, waits for slots and retries included.
    """

    content: bytes
    url: str
    attempts: int
    fetch_s: float


@dataclass(slots=True)
class _Tally:
    """Requests made so far for one event's URL."""

    attempts: int = 0


class Downloader:
    """Fetches files over HTTP; an async context manager that owns the connections."""

    def __init__(
        self,
        settings: Settings,
        *,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        random: Callable[[], float] = random_module.random,
        resolver: AbstractResolver | None = None,
    ) -> None:
        """Prepare; nothing is opened before the context is entered.

        Args:
            settings: those under "Fetch".
            sleep: waits that many seconds between attempts.
            random: a number in [0, 1), for the jitter.
            resolver: names to addresses, guarded by us and closed with us; None for the system's.
        """
        self._settings = settings
        self._rules = Rules.from_settings(settings)
        self._sleep = sleep
        self._random = random
        self._resolver = resolver
        self._slots = Slots(settings.downloads_in_flight, settings.downloads_per_host)
        self._stack = AsyncExitStack()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        if self._rules.allow_private_hosts:
            log.warning(
                "allow_private_hosts is set: URLs in events can reach %s inside this network, on any port. "
                "Leave it empty in production.",
                ", ".join(sorted(self._rules.allow_private_hosts)),
            )
        resolver = GuardedResolver(
            self._resolver or ThreadResolver(self._settings.downloads_in_flight), self._rules
        )
        self._stack.push_async_callback(resolver.close)
        self._session = await self._stack.enter_async_context(self._new_session(resolver))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._session = None
        await self._stack.aclose()

    async def fetch(self, url: str) -> Download:
        """Download a file: check, request, and try again where that can help.

        Between attempts no slot is held. One deadline covers everything.

        Raises:
            FetchError: the file can't be had; ``attempts`` is the number of requests, 0 where the URL
                itself was refused or the deadline came before the first slot.
        """
        started = time.monotonic()
        target = check_url(url, self._rules)
        tally = _Tally()
        deadline_s = self._settings.fetch_deadline_s
        try:
            async with asyncio.timeout(deadline_s):
                content, final_url = await self._attempts(target, tally)
        except TimeoutError as exc:
            message = f"Not had after {deadline_s:g} s, in {tally.attempts} attempts."
            raise FetchError(Reason.TIMEOUT, message, attempts=tally.attempts, is_retriable=True) from exc
        return Download(content, str(final_url), tally.attempts, time.monotonic() - started)

    async def _attempts(self, url: URL, tally: _Tally) -> tuple[bytes, URL]:
        """Attempt it until that succeeds, or can't, or was done often enough."""
        while True:
            try:
                return await self._attempt(url, tally)
            except FetchError as exc:
                if not exc.is_retriable or tally.attempts >= self._settings.download_attempts:
                    raise _after_attempts(exc, tally.attempts) from exc
                retry_after_s = exc.retry_after_s
            await self._sleep(
                backoff_s(
                    tally.attempts,
                    self._settings.retry_base_s,
                    self._settings.retry_max_s,
                    self._random(),
                    retry_after_s,
                )
            )

    async def _attempt(self, url: URL, tally: _Tally) -> tuple[bytes, URL]:
        """One attempt: the request and its redirects, each checked, within one time limit."""
        left_s = self._settings.download_timeout_s
        for redirects in range(self._settings.max_redirects + 1):
            async with self._slots.taken(url.raw_host or ""):
                tally.attempts += redirects == 0
                started = time.monotonic()
                answer = await self._request(url, left_s)
                # Time spent waiting for a slot is not the server's, so it does not count.
                left_s -= time.monotonic() - started
            if isinstance(answer, bytes):
                return answer, url
            url = check_url(str(answer), self._rules)
        raise FetchError(
            Reason.TOO_MANY_REDIRECTS, f"The URL redirects more than {self._settings.max_redirects} times."
        )

    async def _request(self, url: URL, timeout_s: float) -> bytes | URL:
        """One request: the body, or the URL that it redirects to, which is not yet checked.

        The one place where errors of the HTTP client become ours.
        """
        assert self._session is not None, "The downloader is not open. This is a bug."
        requested_host.set(url.raw_host)
        try:
            async with (
                asyncio.timeout(timeout_s),
                self._session.get(url, allow_redirects=False) as response,
            ):
                if response.status in _REDIRECTS:
                    return _redirect_target(url, response)
                _check_response(response, self._settings.max_download_bytes)
                return await _read_body(response, self._settings.max_download_bytes)
        except TRANSLATED as exc:
            raise translate(exc) from exc

    def _new_session(self, resolver: AbstractResolver) -> aiohttp.ClientSession:
        # No limit and no limit per host: `Slots` are that.
        connector = aiohttp.TCPConnector(
            resolver=resolver, socket_factory=GuardedSockets(self._rules), limit=0, limit_per_host=0
        )
        timeout = aiohttp.ClientTimeout(
            total=None, connect=self._settings.connect_timeout_s, sock_read=self._settings.read_timeout_s
        )
        return aiohttp.ClientSession(
            connector=connector,
            timeout=timeout,
            headers={"Accept-Encoding": "identity", "User-Agent": f"streamapp/{__version__}"},
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            max_line_size=_MAX_HEADER_BYTES,
            max_field_size=_MAX_HEADER_BYTES,
            max_headers=_MAX_HEADERS,
        )


def _after_attempts(error: FetchError, attempts: int) -> FetchError:
    # A new one, because waiters for the same name can share an error.
    return FetchError(
        error.reason,
        str(error),
        attempts=attempts,
        is_retriable=error.is_retriable,
        retry_after_s=error.retry_after_s,
    )


def _redirect_target(url: URL, response: aiohttp.ClientResponse) -> URL:
    location = response.headers.get("Location")
    if not location:
        raise FetchError(Reason.BAD_RESPONSE, f"HTTP status {response.status} without a Location.")
    try:
        return url.join(URL(location))
    except ValueError as exc:
        raise FetchError(
            Reason.URL_INVALID, f"It redirects to {location!r:.80}, which is not a URL."
        ) from exc


def _check_response(response: aiohttp.ClientResponse, max_bytes: int) -> None:
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
    content = bytearray()
    async for chunk in response.content.iter_any():
        content += chunk
        if len(content) > max_bytes:
            raise _too_large(max_bytes)
    return bytes(content)


def _too_large(max_bytes: int) -> FetchError:
    return FetchError(Reason.TOO_LARGE, f"The file has more than {max_bytes} bytes.")
