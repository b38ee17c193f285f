"""`streamapp moderate` as a process of its own, with the real model."""

import asyncio
import io
import json
from base64 import b64encode
from pathlib import Path

import pytest
from command_process import Command, Ended
from PIL import Image

from streamapp.local.pictures import PictureServer
from streamapp.records import read_row

NO_FILE_TO_READ = Path("/proc/self/mem")


async def moderate(folder: Path, *arguments: str, **variables: str) -> Ended:
    return await Command("moderate", folder, {"STREAMAPP_MODELS": "nudenet"}).run(*arguments, **variables)


def rows_of(ended: Ended) -> list[tuple[str, int, str | None]]:
    """The picture, NudeNet's STATUS and the reason of every JSON line."""
    rows = [read_row(line.encode()) for line in ended.output.splitlines()]
    return [
        (row.IMAGE_URL, row.MODEL_ATTRIBUTES.NN_STATUS, row.MODEL_ATTRIBUTES.PROVENANCE["reason"])
        for row in rows
    ]


def jpeg(side_px: int = 64) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (side_px, side_px), "green").save(file, "JPEG")
    return file.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a picture, a text, a picture in a folder of its own and a hidden file."""
    (tmp_path / "pictures" / "more").mkdir(parents=True)
    (tmp_path / "pictures" / "a.jpg").write_bytes(jpeg())
    (tmp_path / "pictures" / "b.txt").write_text("no picture")
    (tmp_path / "pictures" / "more" / "c.jpg").write_bytes(jpeg(32))
    (tmp_path / "pictures" / ".hidden").write_text("no picture")
    return tmp_path


async def test_a_folder_is_a_table_of_its_files(folder: Path) -> None:
    ended = await moderate(folder, "pictures")
    *table, last = ended.output.splitlines()
    cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in table if line.startswith("│")]

    assert (ended.exit_code, ended.errors) == (0, "")
    assert [row[:5] for row in cells] == [
        ["a.jpg", "pass", "0.0000", "0", ""],
        ["b.txt", "moderate", "", "1", "unknown_format"],
        ["c.jpg", "pass", "0.0000", "0", ""],
    ]
    assert last == "3 pictures, 1 to be moderated."
    assert max(map(len, table)) <= 100


async def test_json_lines_are_rows_in_the_order_of_the_arguments(folder: Path) -> None:
    # The large picture takes longest and stays first.
    (folder / "large.jpg").write_bytes(jpeg(3000))
    ended = await moderate(folder, "large.jpg", "pictures/b.txt", "pictures", "--json")

    assert (ended.exit_code, ended.errors) == (0, "")
    assert rows_of(ended) == [
        ("large.jpg", 0, None),
        ("pictures/b.txt", 1, "unknown_format"),
        ("pictures/a.jpg", 0, None),
        ("pictures/b.txt", 1, "unknown_format"),
        ("pictures/more/c.jpg", 0, None),
    ]
    provenance = [json.loads(line)["MODEL_ATTRIBUTES"]["PROVENANCE"] for line in ended.output.splitlines()]
    assert [entry["source"] for entry in provenance] == [None] * 5
    assert provenance[0]["content"]["width_px"] == 3000


async def test_a_private_url_is_fetched_only_where_the_setting_allows_it(tmp_path: Path) -> None:
    async with PictureServer({"a.jpg": jpeg()}) as server:
        urls = [server.url_of("a.jpg"), server.url_of("missing.jpg")]
        refused, allowed = await asyncio.gather(
            moderate(tmp_path, *urls, "--json"),
            moderate(tmp_path, *urls, "--json", STREAMAPP_ALLOW_PRIVATE_HOSTS="127.0.0.1"),
        )

    assert refused.exit_code == allowed.exit_code == 0
    assert [row[1:] for row in rows_of(refused)] == [(403, "address_blocked"), (403, "address_blocked")]
    assert rows_of(allowed) == [(urls[0], 0, None), (urls[1], 403, "not_found")]


async def test_what_is_here_already_can_be_named_by_a_url(folder: Path) -> None:
    (folder / "data:,a.jpg").write_bytes(jpeg())
    file = f"file://{folder}/pictures/a.jpg"
    data = "data:image/jpeg;base64," + b64encode(jpeg()).decode()
    ended = await moderate(folder, file, data, "data:,text", "file:///nowhere", "./data:,a.jpg", "--json")

    assert (ended.exit_code, ended.errors) == (0, "")
    assert rows_of(ended) == [
        (file, 0, None),
        ("data:image/jpeg;base64,…", 0, None),
        ("data:,…", 1, "unknown_format"),
        ("file:///nowhere", 403, "not_found"),
        ("data:,a.jpg", 0, None),
    ]


async def test_an_object_of_s3_is_fetched_with_the_env_file_s_credentials(s3_folder: Path) -> None:
    variables = {"STREAMAPP_S3_BUCKETS": "pictures", "STREAMAPP_ALLOW_PRIVATE_HOSTS": "127.0.0.1"}
    ended = await moderate(s3_folder, "s3://pictures/a.jpg", "s3://secrets/a.jpg", "--json", **variables)

    assert rows_of(ended) == [
        ("s3://pictures/a.jpg", 0, None),
        ("s3://secrets/a.jpg", 403, "host_not_allowed"),
    ]


async def test_a_path_that_is_not_there_is_one_line_on_stderr(folder: Path) -> None:
    ended = await moderate(folder, "pictures/a.jpg", "nowhere.jpg")

    assert (ended.exit_code, ended.output) == (1, "")
    assert ended.errors == "streamapp: nowhere.jpg is neither a file nor a folder.\n"


async def test_a_file_that_is_larger_than_a_download_may_be_is_not_read(folder: Path) -> None:
    (folder / "larger.jpg").write_bytes(jpeg() + b"\0")
    limit = str(len(jpeg()))
    ended = await moderate(
        folder, "pictures/a.jpg", "larger.jpg", "--json", STREAMAPP_MAX_DOWNLOAD_BYTES=limit
    )

    assert rows_of(ended) == [("pictures/a.jpg", 0, None), ("larger.jpg", 403, "too_large")]


@pytest.mark.skipif(not NO_FILE_TO_READ.exists(), reason="needs a file that fails when it is read")
async def test_a_file_that_can_not_be_read_costs_its_neighbours_nothing(folder: Path) -> None:
    (folder / "pictures" / "b.txt").unlink()
    (folder / "pictures" / "b.jpg").symlink_to(NO_FILE_TO_READ)
    ended = await moderate(folder, "pictures", "--json")

    assert (ended.exit_code, ended.errors) == (0, "")
    assert rows_of(ended) == [
        ("pictures/a.jpg", 0, None),
        ("pictures/b.jpg", 403, "refused"),
        ("pictures/more/c.jpg", 0, None),
    ]


async def test_missing_weights_are_one_line_on_stderr(folder: Path) -> None:
    ended = await moderate(folder, "pictures", STREAMAPP_NUDENET_WEIGHTS="nowhere.onnx")

    assert (ended.exit_code, ended.output) == (1, "")
    assert ended.errors.startswith("streamapp: ")
    assert "nowhere.onnx" in ended.errors
    assert ended.errors.count("\n") == 1
