"""A bound on what a server may send around a body: headers, interim answers, the framing of chunks.

Each of those costs far more of the event loop's time than a byte of a picture does. Endless interim answers
(``100 Continue``) or chunks of one byte keep a processor core busy for as long as the download may last.
"""

import asyncio
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler

# The client's parser may hold the better part of two reads, of 256 kB each, while the body is not taken from
# it: those bytes are not yet counted as the body's.
_ALWAYS_ALLOWED_BYTES = 2**20
_BODY_BYTES_PER_BYTE_AROUND = 8


class WastefulAnswerError(aiohttp.ClientError):
    """A server that sends much and no file."""


class FrugalHandler(ResponseHandler):
    """The client's side of a connection, which ends where the answer is mostly not its body."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._received_bytes = 0

    def set_response_params(self, **params: Any) -> None:
        """Begin to count anew: another request goes out."""
        self._received_bytes = 0
        super().set_response_params(**params)

    def data_received(self, data: bytes) -> None:
        """Take what the server sent, up to the bound."""
        super().data_received(data)
        self._received_bytes += len(data)
        body_bytes = self._payload.total_bytes if self._payload is not None else 0
        around_bytes = self._received_bytes - body_bytes
        if around_bytes > _ALWAYS_ALLOWED_BYTES + body_bytes // _BODY_BYTES_PER_BYTE_AROUND:
            self._give_up(WastefulAnswerError(f"{around_bytes} bytes came around {body_bytes} of the body."))

    def _give_up(self, error: WastefulAnswerError) -> None:
        self.set_exception(error)
        if self._payload is not None:
            self._payload.set_exception(error)
        if self.transport is not None:
            self.transport.abort()
