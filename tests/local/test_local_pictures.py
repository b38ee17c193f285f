"""The picture server and the folders that it serves."""

from pathlib import Path

import pytest
from aiohttp import ClientSession

from streamapp.errors import StreamappError
from streamapp.local.pictures import PictureServer, pictures_in


async def test_bytes_and_files_are_served_by_their_name(tmp_path: Path) -> None:
    (tmp_path / "b.png").write_bytes(b"from a file")
    pictures = {"a b/ü?.png": b"from memory", "b.png": tmp_path / "b.png"}
    async with PictureServer(pictures) as server, ClientSession() as client:
        for name, content in (("a b/ü?.png", b"from memory"), ("b.png", b"from a file")):
            async with client.get(server.url_of(name)) as response:
                assert (response.status, await response.read()) == (200, content)


async def test_an_unknown_name_and_a_file_that_has_gone_are_not_found(tmp_path: Path) -> None:
    async with PictureServer({"gone.png": tmp_path / "gone.png"}) as server, ClientSession() as client:
        for name in ("gone.png", "never.png", "", "../etc/passwd"):
            async with client.get(server.url_of(name)) as response:
                assert response.status == 404


async def test_a_redirect_leads_to_another_name_or_to_a_whole_url() -> None:
    redirects = {"hop": "photo", "away": "http://169.254.169.254/"}
    async with PictureServer({"photo": b"!"}, redirects=redirects) as server, ClientSession() as client:
        async with client.get(server.url_of("hop"), allow_redirects=False) as response:
            assert (response.status, response.headers["Location"]) == (302, server.url_of("photo"))
        async with client.get(server.url_of("away"), allow_redirects=False) as response:
            assert response.headers["Location"] == "http://169.254.169.254/"


async def test_it_listens_on_loopback_and_only_while_its_block_runs() -> None:
    server = PictureServer({})
    async with server:
        assert server.url_of("x").startswith("http://127.0.0.1:")
    with pytest.raises(StreamappError, match="before it is started"):
        server.url_of("x")


def test_a_folders_files_are_found_without_the_hidden_ones(tmp_path: Path) -> None:
    for name in ("b/c.jpg", "a.png", ".hidden", ".git/config"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert pictures_in(tmp_path) == {"a.png": tmp_path / "a.png", "b/c.jpg": tmp_path / "b" / "c.jpg"}


def test_a_path_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StreamappError, match="holds no file"):
        pictures_in(tmp_path)
    with pytest.raises(StreamappError, match="neither a file nor a folder"):
        pictures_in(tmp_path / "nowhere")
