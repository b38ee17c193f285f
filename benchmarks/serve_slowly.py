"""Serves a folder's files on loopback, each after a delay: `python serve_slowly.py FOLDER SECONDS`.

`PUT /rate` with a number of bytes per second slows every connection down to that, those that are being
answered too, and with nothing lets them go on as fast as they can. Prints one line, the base URL, when it
listens.
"""

import asyncio
import sys
from pathlib import Path

from aiohttp import web

STEP_S = 0.25
# Of a file that is sent as fast as possible: how soon it notices that it is to be slow.
STEP_BYTES = 1_000_000


class SlowServer:
    """Files from memory, and how fast they go out.

    Attributes:
        bytes_per_s: of each connection; None: as fast as it goes.
    """

    def __init__(self, folder: Path, delay_s: float) -> None:
        self._files = {path.name: path.read_bytes() for path in folder.iterdir()}
        self._delay_s = delay_s
        self.bytes_per_s: int | None = None

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """The file of that name."""
        await asyncio.sleep(self._delay_s)
        content = memoryview(self._files[request.match_info["name"]])
        if self.bytes_per_s is None and len(content) <= STEP_BYTES:
            return web.Response(body=content, content_type="image/jpeg")
        response = web.StreamResponse(
            headers={"Content-Length": str(len(content)), "Content-Type": "image/jpeg"}
        )
        await response.prepare(request)
        at = 0
        while at < len(content):
            rate = self.bytes_per_s
            step = STEP_BYTES if rate is None else max(1, int(rate * STEP_S))
            await response.write(content[at : at + step])
            at += step
            if rate is not None:
                await asyncio.sleep(STEP_S)
        return response

    async def set_rate(self, request: web.Request) -> web.Response:
        """Change the rate of every connection."""
        text = await request.text()
        self.bytes_per_s = int(text) if text else None
        return web.Response()


async def serve(folder: Path, delay_s: float) -> None:
    server = SlowServer(folder, delay_s)
    app = web.Application()
    app.router.add_put("/rate", server.set_rate)
    app.router.add_get("/{name}", server.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=2048).start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}/", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), float(sys.argv[2])))
