"""The pictures of the chaos suite: small, told apart by their colour, some of them slow to come."""

import asyncio
import io
from types import TracebackType
from typing import Self

import numpy as np
from aiohttp import web
from PIL import Image

PLAIN, RAISES, HANGS = "green", "red", "blue"
CHANNELS = (RAISES, PLAIN, HANGS)


def colour_of(pixels: np.ndarray) -> str:
    """The strongest channel of an RGB picture, ``(H, W, 3)`` uint8."""
    return CHANNELS[int(pixels.mean(axis=(0, 1)).argmax())]


def picture(colour: str) -> bytes:
    """A JPEG of 96 by 64 pixels."""
    file = io.BytesIO()
    Image.new("RGB", (96, 64), colour).save(file, "JPEG")
    return file.getvalue()


class ColourServer:
    """Serves a picture of each colour on loopback while its block runs, at once or late."""

    def __init__(self) -> None:
        self._files = {colour: picture(colour) for colour in CHANNELS}
        self._runner: web.AppRunner | None = None
        self._port = 0

    def url_of(self, colour: str, delay_s: float = 0.0) -> str:
        """The URL of a picture that comes after so many seconds."""
        return f"http://127.0.0.1:{self._port}/{colour}?delay={delay_s}"

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/{colour}", self._answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
        except BaseException:
            await runner.cleanup()
            raise
        self._runner, self._port = runner, runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        await asyncio.sleep(float(request.query["delay"]))
        return web.Response(body=self._files[request.match_info["colour"]], content_type="image/jpeg")
