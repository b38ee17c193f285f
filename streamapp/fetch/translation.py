"""The HTTP client's errors, translated to ours."""

import asyncio
import re
import socket
import ssl

import aiohttp

from streamapp.errors import FetchError
from streamapp.fetch.connecting import BlockedAddressError
from streamapp.reasons import Reason

# Some errors print the URL, which may be a signed one.
_URL = re.compile(r"https?://[^\s'\"<>]+")

TRANSLATED = (aiohttp.ClientError, OSError)
"""The classes that `translate` is to be called with; anything else is a bug and is not caught."""

# Class → reason, and whether another attempt could end otherwise. The first class that fits wins, so
# a subclass stands before its base. ClientError and OSError at the end are for what has no line of its own.
_RULES: tuple[tuple[type[BaseException], Reason, bool], ...] = (
    (aiohttp.ClientConnectorDNSError, Reason.HOST_UNKNOWN, False),
    (aiohttp.ClientSSLError, Reason.TLS_FAILED, False),
    (aiohttp.ServerFingerprintMismatch, Reason.TLS_FAILED, False),
    (ssl.SSLError, Reason.TLS_FAILED, False),
    (asyncio.TimeoutError, Reason.TIMEOUT, True),
    (aiohttp.ClientConnectionError, Reason.CONNECTION_FAILED, True),
    (aiohttp.TooManyRedirects, Reason.TOO_MANY_REDIRECTS, False),
    (aiohttp.ClientResponseError, Reason.BAD_RESPONSE, False),
    (aiohttp.ClientPayloadError, Reason.BAD_RESPONSE, True),
    (aiohttp.InvalidURL, Reason.URL_INVALID, False),
    (aiohttp.NonHttpUrlClientError, Reason.URL_SCHEME, False),
    (aiohttp.RedirectClientError, Reason.URL_INVALID, False),
    (socket.gaierror, Reason.HOST_UNKNOWN, False),
    (ConnectionError, Reason.CONNECTION_FAILED, True),
    (aiohttp.ClientError, Reason.BAD_RESPONSE, False),
    (OSError, Reason.CONNECTION_FAILED, True),
)


def matching_class(error: type[BaseException]) -> type[BaseException]:
    """The class whose line decides over this one."""
    return next(candidate for candidate, _, _ in _RULES if issubclass(error, candidate))


def translate(error: BaseException) -> FetchError:
    """The FetchError for an error of the classes in `TRANSLATED`; its message never holds the URL."""
    if isinstance(error, BlockedAddressError):
        return FetchError(error.reason, _describe(error))
    if isinstance(error, aiohttp.ClientConnectorError):
        cause = error.os_error
        if isinstance(cause, BlockedAddressError):
            return translate(cause)
        # The one answer of a DNS server that is no answer: it could not be asked.
        if isinstance(cause, socket.gaierror) and cause.errno == socket.EAI_AGAIN:
            return FetchError(Reason.HOST_UNKNOWN, _describe(error), is_retriable=True)
    for candidate, reason, is_retriable in _RULES:
        if isinstance(error, candidate):
            return FetchError(reason, _describe(error), is_retriable=is_retriable)
    raise TypeError(f"{type(error).__name__} has no translation. This is a bug.")


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {_URL.sub('(the URL)', str(error))}"[:200]
