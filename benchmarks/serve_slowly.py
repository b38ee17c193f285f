"""Serves a folder's files on loopback, each after a delay: `python serve_slowly.py FOLDER SECONDS [RATE]`.

With a rate, in bytes per second, each connection gets no more. Prints one line, the base URL, when it
listens.
"""

import asyncio
import sys
from pathlib import Path

from aiohttp import web

STEP_S = 0.25


async def serve(folder: Path, delay_s: float, bytes_per_s: float | None = None) -> None:
    files = {path.name: path.read_bytes() for path in folder.iterdir()}

    async def answer(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(delay_s)
        content = files[request.match_info["name"]]
        if bytes_per_s is None:
            return web.Response(body=content, content_type="image/jpeg")
        return await _trickle(request, content, int(bytes_per_s * STEP_S))

    app = web.Application()
    app.router.add_get("/{name}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=2048).start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}/", flush=True)
    await asyncio.Event().wait()


async def _trickle(request: web.Request, content: bytes, step_bytes: int) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": str(len(content))})
    await response.prepare(request)
    view = memoryview(content)
    for start in range(0, len(content), step_bytes):
        await response.write(view[start : start + step_bytes])
        await asyncio.sleep(STEP_S)
    return response


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), *map(float, sys.argv[2:4])))
