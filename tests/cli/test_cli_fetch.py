"""`streamapp fetch` as a process of its own, against servers on loopback."""

import asyncio
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from command_process import Command, Ended
from model_sources import Source, serving
from PIL import Image

from streamapp.cli import group

NO_BYTES = {"Content-Length": "0"}


async def fetch(folder: Path, *arguments: str, **variables: str) -> Ended:
    usual = {"STREAMAPP_ALLOW_PRIVATE_HOSTS": "127.0.0.1", "STREAMAPP_RETRY_BASE_S": "0"}
    return await Command("fetch", folder, usual).run(*arguments, **variables)


def objects_of(ended: Ended) -> list[dict[str, Any]]:
    """The JSON object of every line."""
    return [json.loads(line) for line in ended.output.splitlines()]


def kinds_of(ended: Ended) -> list[str]:
    """What the lines that begin with seconds are about."""
    lines = [line.split() for line in ended.output.splitlines() if line.startswith("  ")]
    return [words[2] for words in lines if words[1:2] == ["s"]]


def jpeg() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 48), "green").save(file, "JPEG")
    return file.getvalue()


def gif() -> bytes:
    file = io.BytesIO()
    first, *rest = (Image.effect_noise((32, 32), 99) for _ in range(3))
    first.save(file, "GIF", save_all=True, append_images=rest, duration=1000)
    return file.getvalue()


class Web(Source):
    """Pictures, redirects, failures and headers that attack a terminal."""

    def __init__(self) -> None:
        super().__init__()
        self.has_failed = False

    def respond(self, method: str, path: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        """The answer for a path."""
        if path == "/a.jpg":
            return 200, {"Content-Length": str(len(jpeg()))}, jpeg()
        if path == "/a.gif":
            return 200, {"Content-Type": "image/gif"}, gif()
        if path == "/moved":
            return 302, {"Location": "/a.jpg"} | NO_BYTES, b""
        if path == "/inside":
            return 302, {"Location": "http://169.254.169.254/latest/"} | NO_BYTES, b""
        if path == "/flaky" and not self.has_failed:
            self.has_failed = True
            return 503, NO_BYTES, b""
        if path == "/flaky":
            return 200, {}, jpeg()
        if path == "/hostile":
            hostile = {"Content-Type": "image/\x9b31m\x1b]0;owned\x07", "Location": "/\x1b[31m[red]"}
            return 302, hostile | NO_BYTES, b""
        return 404, NO_BYTES, b""


@pytest.fixture
def web() -> Iterator[str]:
    with serving(Web()) as url:
        yield url


async def test_a_picture_is_followed_from_its_url_to_its_key_frames(tmp_path: Path, web: str) -> None:
    ended = await fetch(tmp_path, f"{web}/moved", f"{web}/a.gif")
    first, second, _ = ended.output.split("\n\n")

    assert ended.exit_code == 0
    assert first.startswith(f"{web}/moved\n")
    for text in ("127.0.0.1 port", "HTTP 302", "/a.jpg: allowed", f"{len(jpeg())} bytes", "1 attempt, from"):
        assert text in first
    assert "image/jpeg, 64 x 48 px, key frame 0 at 0.00 s" in first
    assert "image/gif, 32 x 32 px, key frames 0 at 0.00 s, 1 at 1.00 s, 2 at 2.00 s" in second
    assert all(text.splitlines()[-1].startswith("  STATUS 0  ") for text in (first, second))
    assert max(map(len, ended.output.splitlines())) <= 100


async def test_a_refusal_ends_with_the_status_and_the_reason_of_a_row(tmp_path: Path, web: str) -> None:
    ended = await fetch(tmp_path, f"{web}/inside", f"{web}/none", "ftp://example.com/", "data:,text")
    lasts = [text.splitlines()[-1] for text in ended.output.strip().split("\n\n")]

    assert ended.exit_code == 1
    assert lasts == [
        "  STATUS 403 address_blocked  The URL leads to an address that is not on the public internet.",
        "  STATUS 403 not_found  The server has no such file.",
        "  STATUS 403 url_scheme  The URL's scheme is not http or https.",
        "  STATUS 1 unknown_format  The file's bytes are no picture or video that is read here.",
    ]
    assert "169.254.169.254" in ended.output
    assert kinds_of(ended).count("blocked") == 3


async def test_retries_are_shown_and_counted(tmp_path: Path, web: str) -> None:
    ended = await fetch(tmp_path, f"{web}/flaky")

    assert ended.exit_code == 0
    assert "retry" in kinds_of(ended)
    assert "2 attempts" in ended.output


async def test_without_the_setting_the_worker_s_guard_refuses(tmp_path: Path, web: str) -> None:
    ended = await fetch(tmp_path, f"{web}/a.jpg", STREAMAPP_ALLOW_PRIVATE_HOSTS="")

    assert (ended.exit_code, ended.errors) == (1, "")
    assert "STATUS 403 address_blocked" in ended.output


@pytest.mark.parametrize("options", [(), ("--json",)], ids=["text", "json"])
async def test_nothing_that_others_choose_reaches_the_terminal_as_a_command(
    tmp_path: Path, web: str, options: tuple[str, ...]
) -> None:
    markup = "http://[red]x[/red]/"
    urls = [
        f"{web}/hostile",
        "http://example.com/\x1b[31m\u202e",
        "data:\x1b[31m,x",
        "file:///%1b[31m",
        markup,
    ]
    ended = await fetch(tmp_path, *urls, *options)

    assert ended.exit_code == 1
    assert ended.output.replace("\n", "").isprintable()
    assert "owned" in ended.output
    # As it was given, not as rich's markup.
    assert markup in (objects_of(ended)[-1]["url"] if options else ended.output.splitlines())


async def test_json_has_one_object_for_each_url_in_their_order(tmp_path: Path, web: str) -> None:
    (tmp_path / "a b.gif").write_bytes(gif())
    url = f"file://{tmp_path}/a%20b.gif"
    ended = await fetch(tmp_path, f"{web}/a.jpg", f"{web}/none", url, "--json")
    picture, missing, file = objects_of(ended)

    assert ended.exit_code == 1
    assert (picture["status"], picture["reason"], picture["message"]) == (0, None, None)
    assert picture["download"] | {"seconds": 0} == {
        "url": f"{web}/a.jpg",
        "bytes": len(jpeg()),
        "attempts": 1,
        "seconds": 0,
    }
    assert [step["kind"] for step in picture["steps"]] == ["url", "request", "connect", "response", "body"]
    assert set(picture["steps"][0]) == {"kind", "seconds", "message"}
    assert (missing["status"], missing["reason"], missing["download"]) == (403, "not_found", None)
    assert missing["steps"][-1]["kind"] == "blocked"
    assert (file["url"], file["steps"], file["download"]["attempts"]) == (url, [], 0)
    assert [frame["time_s"] for frame in file["picture"]["frames"]] == [0.0, 1.0, 2.0]
    assert file["picture"]["frames_complete"] is True


async def test_the_bytes_are_written_whatever_they_are(tmp_path: Path, web: str) -> None:
    picture, text, nothing = await asyncio.gather(
        fetch(tmp_path, f"{web}/a.jpg", "--output", "picture"),
        fetch(tmp_path, "data:,text", "--output", "text"),
        fetch(tmp_path, f"{web}/none", "--output", "nothing"),
    )

    assert [ended.exit_code for ended in (picture, text, nothing)] == [0, 1, 1]
    assert (tmp_path / "picture").read_bytes() == jpeg()
    assert (tmp_path / "text").read_bytes() == b"text"
    assert not (tmp_path / "nothing").exists()
    assert nothing.errors.endswith("nothing is not written: there are no bytes.\n")


async def test_an_output_that_can_not_be_written_is_one_line_on_stderr(tmp_path: Path) -> None:
    ended = await fetch(tmp_path, "data:,text", "--output", "no/folder", STREAMAPP_ALLOW_PRIVATE_HOSTS="")

    assert ended.exit_code == 1
    assert ended.errors == "streamapp: no/folder can't be written: No such file or directory.\n"


def test_one_output_is_for_one_url() -> None:
    result = CliRunner().invoke(group, ["fetch", "data:,a", "data:,b", "--output", "file"])

    assert result.exit_code == 2
    assert "--output" in result.output


async def test_an_object_of_s3_is_fetched_with_the_env_file_s_credentials(s3_folder: Path) -> None:
    ended = await fetch(s3_folder, "s3://pictures/a.jpg", STREAMAPP_S3_BUCKETS="pictures")

    assert ended.exit_code == 0
    assert "image/jpeg, 64 x 48 px" in ended.output
    assert not [secret for secret in ("AKIDTEST", "hush", "X-Amz") if secret in ended.output + ended.errors]
