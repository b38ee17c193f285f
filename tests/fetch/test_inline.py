"""What is here already: data: and file: URLs and paths, for commands; never for the worker."""

import asyncio
import os
from base64 import b64encode
from pathlib import Path
from urllib.parse import quote

import pytest

from streamapp.errors import FetchError
from streamapp.fetch.downloader import Downloader
from streamapp.fetch.inline import is_inline, is_url, name_of, read_inline
from streamapp.reasons import Reason
from streamapp.settings import Settings

LIMIT = 12
WAIT_S = 20.0


async def read(target: Path | str) -> bytes:
    async with asyncio.timeout(WAIT_S):
        return await read_inline(target, LIMIT)


async def refusal(target: Path | str) -> Reason:
    with pytest.raises(FetchError) as caught:
        await read(target)
    assert (caught.value.attempts, caught.value.is_retriable) == (0, False)
    return caught.value.reason


@pytest.mark.parametrize(
    "url", ["data:image/gif;base64,R0lGODlh", "file:///etc/hostname", "FILE:/etc/hostname"]
)
async def test_the_worker_s_downloader_refuses_them(url: str) -> None:
    async with Downloader(Settings(allow_private_hosts=("localhost", "127.0.0.1"))) as downloader:
        with pytest.raises(FetchError) as caught:
            await downloader.fetch(url)
    assert (caught.value.reason, caught.value.attempts) == (Reason.URL_SCHEME, 0)


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("https://example.com/a.png", True),
        ("s3://pictures/a.png", True),
        ("data:,a", True),
        ("File:/a", True),
        ("a.png", False),
        ("./data:,a", False),
        ("C:/a.png", False),
        ("database:x", False),
    ],
)
def test_an_argument_is_a_url_by_its_scheme(argument: str, expected: bool) -> None:
    assert is_url(argument) is expected


def test_paths_data_and_file_are_read_here_and_other_urls_are_not() -> None:
    assert all(is_inline(target) for target in (Path("data:x"), Path("a"), "data:,a", "FILE:///a"))
    assert not any(is_inline(target) for target in ("https://example.com/a", "s3://b/file:", "a.png"))


def test_the_name_of_a_data_url_leaves_its_data_out() -> None:
    assert name_of("data:image/png;base64," + "A" * 9000) == "data:image/png;base64,…"
    assert len(name_of("data:" + "A" * 9000)) < 100
    assert name_of(Path("data:,a")) == "data:,a"
    assert name_of("file:///a%20b") == "file:///a%20b"


def test_a_name_that_is_no_unicode_becomes_one() -> None:
    name_of(Path(os.fsdecode(b"\xff.png"))).encode()


# data:


@pytest.mark.parametrize(
    ("url", "content"),
    [
        ("data:,a%20b", b"a b"),
        ("data:text/plain;charset=utf-8,%FF%00", b"\xff\0"),
        ("data:,a;base64,YQ", b"a;base64,YQ"),
        ("data:,%zz", b"%zz"),
        ("data:,ü", "ü".encode()),
        ("data:,\udcff", b"\xff"),
        ("data:,a#fragment", b"a"),
        ("data:,", b""),
        ("data:;base64,", b""),
        ("data:image/png;base64,YWI=", b"ab"),
        ("DATA:image/png; BASE64 ,YW%0AI", b"ab"),
        ("data:;base64,YW I%3D", b"ab"),
        ("data:;base64," + b64encode(bytes(LIMIT)).decode(), bytes(LIMIT)),
        ("data:," + "%00" * LIMIT, bytes(LIMIT)),
    ],
)
async def test_a_data_url_holds_its_bytes(url: str, content: bytes) -> None:
    assert await read(url) == content


@pytest.mark.parametrize(
    "url",
    [
        "data:",
        "data:image/png",
        "data:;base64,Y",
        "data:;base64,a*b=",
        "data:;base64,Y=Q=",
        "data:;base64,YQ\xff",
    ],
)
async def test_a_data_url_that_is_not_well_formed_is_refused(url: str) -> None:
    assert await refusal(url) is Reason.URL_INVALID


@pytest.mark.parametrize("size", [LIMIT + 1, LIMIT + 2, LIMIT + 3, 1000])
async def test_a_data_url_is_bound_like_a_download(size: int) -> None:
    assert await refusal("data:," + "a" * size) is Reason.TOO_LARGE
    assert await refusal("data:;base64," + b64encode(bytes(size)).decode()) is Reason.TOO_LARGE


# file:


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "a b%41?#ü.png"
    file.write_bytes(b"content")
    return file


async def test_a_path_is_taken_as_it_is(file: Path) -> None:
    assert await read(file) == b"content"


@pytest.mark.parametrize("prefix", ["file://", "file:", "FILE://localhost", "file://LOCALHOST"])
async def test_a_file_url_is_percent_decoded(file: Path, prefix: str) -> None:
    assert await read(prefix + quote(str(file))) == b"content"


async def test_a_file_whose_name_is_no_unicode_can_be_named(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"\xff")).write_bytes(b"content")
    assert await read(f"file://{tmp_path}/%FF") == b"content"


@pytest.mark.parametrize(
    "url", ["file:a.png", "file:", "file:///a%00b", "file:///a?b", "file:///a#b", "file://[/a"]
)
async def test_a_file_url_that_names_no_path_is_refused(url: str) -> None:
    assert await refusal(url) is Reason.URL_INVALID


@pytest.mark.parametrize("url", ["file://example.com/a", "file://127.0.0.1/a", "file://localhost:80/a"])
async def test_a_file_url_of_another_host_is_refused(url: str) -> None:
    assert await refusal(url) is Reason.HOST_NOT_ALLOWED


async def test_only_regular_files_are_read_and_a_fifo_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, tmp_path / "fifo", Path(os.devnull)):
        assert await refusal(path) is Reason.REFUSED
        assert await refusal(path.as_uri()) is Reason.REFUSED


async def test_a_file_that_is_not_there_is_not_found(file: Path) -> None:
    assert await refusal(file.with_name("nowhere.png")) is Reason.NOT_FOUND
    assert await refusal(file / "below-a-file.png") is Reason.NOT_FOUND


async def test_a_file_is_bound_like_a_download(file: Path) -> None:
    file.write_bytes(bytes(LIMIT))
    assert await read(file) == bytes(LIMIT)
    file.write_bytes(bytes(LIMIT + 1))
    assert await refusal(file) is Reason.TOO_LARGE
