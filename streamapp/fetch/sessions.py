"""The HTTP client, set up for servers that nobody vouches for."""

import asyncio
import functools
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp.client_proto import ResponseHandler

from streamapp import __version__
from streamapp.fetch.connecting import GuardedResolver, GuardedSockets
from streamapp.fetch.frugality import FrugalHandler
from streamapp.fetch.guard import Rules
from streamapp.settings import Settings

_MAX_HEADER_BYTES = 8190
_MAX_HEADERS = 128


class Sessions:
    """Two sessions of the HTTP client: one keeps connections for the next request, one closes them.

    The client bounds open requests and not idle connections: if all were kept, a flood of files from ever
    new hosts would use up the process's sockets.

    Args:
        settings: those under "Fetch".
        resolver: names to addresses; stays the caller's to close.
        rules: which addresses sockets are opened for.
    """

    def __init__(self, settings: Settings, resolver: GuardedResolver, rules: Rules) -> None:
        self._settings = settings
        self._resolver = resolver
        self._rules = rules
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self._keeping = await self._stack.enter_async_context(self._new_session(is_kept_alive=True))
        self._closing = await self._stack.enter_async_context(self._new_session(is_kept_alive=False))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def of(self, *, is_kept_alive: bool) -> aiohttp.ClientSession:
        """The session for a request whose connection is to be kept, or is not."""
        return self._keeping if is_kept_alive else self._closing

    def _new_session(self, *, is_kept_alive: bool) -> aiohttp.ClientSession:
        # No limit and no limit per host: `Slots` are that. No cache of names: the resolver is that.
        connector = aiohttp.TCPConnector(
            resolver=self._resolver,
            socket_factory=GuardedSockets(self._rules),
            use_dns_cache=False,
            force_close=not is_kept_alive,
            limit=0,
            limit_per_host=0,
        )
        # There is no argument for it; tests/fetch/test_frugality.py tells if the client no longer asks this.
        handler: type[ResponseHandler] = FrugalHandler
        connector._factory = functools.partial(handler, loop=asyncio.get_running_loop())
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
