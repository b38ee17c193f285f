"""Every error of the HTTP client has a reason of its own."""

import errno
import socket
import ssl
from collections.abc import Iterator

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey

from streamapp.errors import FetchError
from streamapp.fetch.connecting import BlockedAddressError
from streamapp.fetch.translation import TRANSLATED, matching_class, translate
from streamapp.reasons import Reason

KEY = ConnectionKey("cdn.example.com", 443, True, True, None, None, None)


def subclasses(cls: type[BaseException]) -> Iterator[type[BaseException]]:
    for child in cls.__subclasses__():
        yield child
        yield from subclasses(child)


# By name, because only late releases of aiohttp have it. No request that is made here has a body.
OF_REQUESTS_WITH_A_BODY = {"UploadAbortedError"}

CLIENT_ERRORS = sorted(
    {
        cls
        for cls in subclasses(aiohttp.ClientError)
        if cls.__module__.startswith("aiohttp.") and cls.__name__ not in OF_REQUESTS_WITH_A_BODY
    },
    key=lambda cls: cls.__name__,
)


def test_the_enumeration_sees_the_client_errors() -> None:
    assert len(CLIENT_ERRORS) >= 25


@pytest.mark.parametrize("cls", CLIENT_ERRORS, ids=lambda cls: cls.__name__)
def test_no_client_error_falls_to_the_catch_all(cls: type[BaseException]) -> None:
    assert issubclass(cls, TRANSLATED)
    assert matching_class(cls) not in (aiohttp.ClientError, OSError)


@pytest.mark.parametrize(
    ("error", "reason", "is_retriable"),
    [
        (TimeoutError(), Reason.TIMEOUT, True),
        (aiohttp.ConnectionTimeoutError(), Reason.TIMEOUT, True),
        (aiohttp.SocketTimeoutError(), Reason.TIMEOUT, True),
        (OSError(errno.ENETUNREACH, "unreachable"), Reason.CONNECTION_FAILED, True),
        (ConnectionResetError(), Reason.CONNECTION_FAILED, True),
        (aiohttp.ServerDisconnectedError(), Reason.CONNECTION_FAILED, True),
        (aiohttp.ClientPayloadError(), Reason.BAD_RESPONSE, True),
        (ssl.SSLError(), Reason.TLS_FAILED, False),
        (ssl.SSLCertVerificationError(), Reason.TLS_FAILED, False),
        (
            aiohttp.ClientConnectorCertificateError(KEY, ssl.SSLCertVerificationError()),
            Reason.TLS_FAILED,
            False,
        ),
        (socket.gaierror(socket.EAI_NONAME, "unknown"), Reason.HOST_UNKNOWN, False),
        (
            aiohttp.ClientConnectorDNSError(KEY, socket.gaierror(socket.EAI_NONAME, "unknown")),
            Reason.HOST_UNKNOWN,
            False,
        ),
        (
            aiohttp.ClientConnectorDNSError(KEY, socket.gaierror(socket.EAI_AGAIN, "try again")),
            Reason.HOST_UNKNOWN,
            True,
        ),
        (aiohttp.ClientConnectorDNSError(KEY, BlockedAddressError()), Reason.ADDRESS_BLOCKED, False),
        (aiohttp.ClientConnectorError(KEY, BlockedAddressError()), Reason.ADDRESS_BLOCKED, False),
        (
            aiohttp.ClientConnectorError(KEY, BlockedAddressError(Reason.HOST_BLOCKED)),
            Reason.HOST_BLOCKED,
            False,
        ),
        (aiohttp.InvalidURL("x"), Reason.URL_INVALID, False),
        (aiohttp.ClientError(), Reason.BAD_RESPONSE, False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else str(value),
)
def test_an_error_becomes_the_reason_that_names_its_cause(
    error: BaseException, reason: Reason, is_retriable: bool
) -> None:
    translated = translate(error)
    assert isinstance(translated, FetchError)
    assert (translated.reason, translated.is_retriable) == (reason, is_retriable)


@pytest.mark.parametrize(
    "error",
    [
        aiohttp.ConnectionTimeoutError(
            "Connection timeout to host https://b.s3.example/a?X-Amz-Signature=5e"
        ),
        aiohttp.InvalidURL("https://b.s3.example/a?X-Amz-Signature=5e", "odd"),
        aiohttp.ServerTimeoutError("Timeout on reading data from 'https://b.s3.example/?X-Amz-Signature=5e'"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_no_message_has_the_url(error: BaseException) -> None:
    assert "5e" not in str(translate(error))
    assert "(the URL)" in str(translate(error))


def test_an_error_of_another_kind_is_not_hidden() -> None:
    assert not issubclass(KeyError, TRANSLATED)
    with pytest.raises(TypeError, match="This is a bug"):
        translate(KeyError())
