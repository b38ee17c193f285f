"""An HTTP server on loopback for pictures: those of the demo, or a folder of the user's."""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from aiohttp import web

from streamapp.errors import StreamappError

HOST = "127.0.0.1"
_SHUTDOWN_TIMEOUT_S = 2.0


class PictureServer:
    """Serves pictures by name while its block runs; any other name is answered with 404.

    ::

        async with PictureServer({"cat.jpg": Path("cat.jpg")}) as server:
            server.url_of("cat.jpg")  # http://127.0.0.1:40311/cat.jpg
    """

    def __init__(
        self, pictures: Mapping[str, bytes | Path], *, redirects: Mapping[str, str] | None = None
    ) -> None:
        """Take the names; nothing listens yet.

        Args:
            pictures: name, slashes allowed, → the bytes, or the file that they are read from.
            redirects: name → the name, or the whole URL, that a 302 answer sends the client to.
        """
        self._pictures = dict(pictures)
        self._redirects = dict(redirects or {})
        self._runner: web.AppRunner | None = None
        self._port: int | None = None

    def url_of(self, name: str) -> str:
        """The URL under which a name is asked for, whether or not there is such a picture.

        Raises:
            StreamappError: the server does not run.
        """
        if self._port is None:
            raise StreamappError("The picture server has no URLs before it is started. This is a bug.")
        return f"http://{HOST}:{self._port}/{quote(name)}"

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/{name:.*}", self._answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_TIMEOUT_S)
        await runner.setup()
        try:
            await web.TCPSite(runner, HOST, 0).start()
        except BaseException:
            await runner.cleanup()
            raise
        self._runner, self._port = runner, runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        runner, self._runner, self._port = self._runner, None, None
        if runner is not None:
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        if name in self._redirects:
            target = self._redirects[name]
            raise web.HTTPFound(target if "://" in target else self.url_of(target))
        picture = self._pictures.get(name)
        if isinstance(picture, bytes):
            return web.Response(body=picture, content_type="application/octet-stream")
        if picture is None or not picture.is_file():
            raise web.HTTPNotFound
        return web.FileResponse(picture)


def pictures_in(path: Path) -> dict[str, Path]:
    """The files to serve for a file or a folder, by the name they get in their URL.

    Hidden files and those in hidden folders are left out.

    Raises:
        StreamappError: there is no such path, or the folder holds no file.
    """
    if path.is_file():
        return {path.name: path}
    if not path.is_dir():
        raise StreamappError(f"{path} is neither a file nor a folder.")
    files = {
        file.relative_to(path).as_posix(): file
        for file in sorted(path.rglob("*"))
        if file.is_file() and not any(part.startswith(".") for part in file.relative_to(path).parts)
    }
    if not files:
        raise StreamappError(f"The folder {path} holds no file.")
    return files
