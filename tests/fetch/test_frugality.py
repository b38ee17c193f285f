"""Servers that send much and no file are cut off; others are not."""

import asyncio

import pytest
from aiohttp import web
from loopback import LOOPBACK, answering_raw, serving, settings

from streamapp.errors import FetchError
from streamapp.fetch.downloader import Downloader
from streamapp.reasons import Reason


class Flood:
    """Sends a beginning, and then the same bytes for ever; counts them."""

    def __init__(self, beginning: bytes, again: bytes) -> None:
        self._beginning = beginning
        self._again = again * (200_000 // len(again))
        self.sent_bytes = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(self._beginning)
        while True:
            writer.write(self._again)
            self.sent_bytes += len(self._again)
            await writer.drain()


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("beginning", "again"),
    [
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a.png>\r\n\r\n"),
        (CHUNKED, b"1\r\nx\r\n"),
        (CHUNKED, b"8\r\n12345678\r\n"),
        (CHUNKED + b"1;", b"a"),
    ],
    ids=["interim answers", "early hints", "chunks of 1 byte", "chunks of 8 bytes", "a chunk's extension"],
)
async def test_an_endless_answer_around_no_body_is_cut_off(beginning: bytes, again: bytes) -> None:
    flood = Flood(beginning, again)
    # Told by its bytes, however slowly they are read here.
    patient = settings(download_timeout_s=50, fetch_deadline_s=55)
    async with asyncio.timeout(60), answering_raw(flood.answer) as port, Downloader(patient) as downloader:
        with pytest.raises(FetchError, match="WastefulAnswerError") as caught:
            await downloader.fetch(f"http://{LOOPBACK}:{port}/")
    assert (caught.value.reason, caught.value.is_retriable) == (Reason.BAD_RESPONSE, False)
    # Most of it is what the kernel's buffers held when the connection was cut.
    assert flood.sent_bytes < 20_000_000


@pytest.mark.parametrize("chunk_bytes", [None, 64, 1000, 65_536])
async def test_a_large_file_passes_however_it_is_framed(chunk_bytes: int | None) -> None:
    content = bytes(2_000_000)

    async def respond(request: web.Request) -> web.StreamResponse:
        if chunk_bytes is None:
            return web.Response(body=content)
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        for start in range(0, len(content), chunk_bytes):
            await response.write(content[start : start + chunk_bytes])
        return response

    async with serving(respond) as port, Downloader(settings()) as downloader:
        assert (await downloader.fetch(f"http://{LOOPBACK}:{port}/")).content == content


async def test_many_small_files_by_one_connection_are_not_added_up() -> None:
    async def respond(_: web.Request) -> web.Response:
        return web.Response(body=b"x", headers={"X-Long": "a" * 4000})

    async with serving(respond) as port, Downloader(settings()) as downloader:
        for _ in range(300):
            assert (await downloader.fetch(f"http://{LOOPBACK}:{port}/")).content == b"x"
