"""Answers as no server sends them: whatever they are, the event ends, by an error that was foreseen."""

import asyncio
import logging
import random

import pytest
from loopback import LOOPBACK, answering_raw, settings

from streamapp.errors import FetchError
from streamapp.fetch.downloader import Downloader

CASES = 400
TIMEOUT_S = 10

_STATUSES = (
    b"200 OK|200|200 \xff|302 -|304 -|204 -|206 -|100 -|101 -|103 -|199 -|429 -|503 -|999 -|000 -|-1 -"
)
_VALUES = {
    b"Content-Length": b"5||-1|+5|1_0|5, 5|\xb2|" + b"9" * 5000,
    b"Transfer-Encoding": b"chunked|gzip, chunked|chunked, x|",
    b"Content-Encoding": b"gzip|\xff",
    b"Content-Type": b"image/png|\xff;;=|",
    b"Set-Cookie": b'a=b|=;;|a="\\|a=b; max-age=x; expires=99 Foo 0|\xff',
    b"Location": b"/|//|http://[|\xff|http://xn--a/|?%zz|http://a:b/|://|//@|",
    b"Retry-After": b"-5|\xb2|,|Wed, 21 Oct 0001 07:28:00 +9999|" + b"9" * 40,
    b"Connection": b"upgrade|keep-alive",
    b"Upgrade": b"h2c|websocket",
    b"": b"-",
    b"X": b"\x00",
}
_HEADERS = [
    *(name + b": " + value for name, values in _VALUES.items() for value in values.split(b"|")),
    *(b"no colon", b" folded"),
]
_BODIES = (
    b"",
    b"hello",
    b"hello, and more",
    b"5\r\nhello\r\n0\r\n\r\n",
    b"5;\xff\r\nhello\r\n0\r\nX: y\r\n\r\n",
    b"f" * 20 + b"\r\n",
    b"-5\r\nhello",
    b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
)


def answer_of(seed: int) -> bytes:
    """An answer, made of parts that are odd alone or together; every third with some bytes changed."""
    choice = random.Random(seed)
    lines = [
        b"HTTP/1.1 " + choice.choice(_STATUSES.split(b"|")),
        *choice.sample(_HEADERS, choice.randrange(3)),
    ]
    answer = bytearray(b"\r\n".join(lines) + b"\r\n\r\n" + choice.choice(_BODIES))
    if seed % 3 == 0:
        for _ in range(choice.randint(1, 4)):
            answer[choice.randrange(len(answer))] = choice.randrange(256)
    return bytes(answer)


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer the path ``/7`` with the answer of seed 7, in two pieces."""
    seed = int((await reader.readuntil(b"\r\n\r\n")).split()[1].removeprefix(b"/"))
    data = answer_of(seed)
    writer.write(data[: seed % len(data)])
    await asyncio.sleep(0)
    writer.write(data[seed % len(data) :])


async def test_no_answer_has_an_error_that_was_not_foreseen(caplog: pytest.LogCaptureFixture) -> None:
    ends: set[str] = set()
    chosen = settings(max_redirects=0, breaker_failures=CASES)
    with caplog.at_level(logging.ERROR):
        async with answering_raw(answer) as port, Downloader(chosen) as downloader:
            for seed in range(CASES):
                try:
                    async with asyncio.timeout(TIMEOUT_S):
                        await downloader.fetch(f"http://{LOOPBACK}:{port}/{seed}")
                    ends.add("a file")
                except FetchError as exc:
                    ends.add(exc.reason)
    assert [record.getMessage() for record in caplog.records] == []
    assert {"a file", "bad_response", "rate_limited", "server_error"} < ends
