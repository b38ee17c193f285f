"""Serves a folder's files on loopback until it is stopped: `python serve_pictures.py FOLDER`.

A process of its own, so that serving does not share the measuring program's event loop. Prints one
line, the base URL, when it listens.
"""

import asyncio
import sys
from pathlib import Path

from streamapp.local.pictures import PictureServer


async def serve(folder: Path) -> None:
    files: dict[str, bytes | Path] = {path.name: path.read_bytes() for path in folder.iterdir()}
    async with PictureServer(files) as server:
        print(server.url_of(""), flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
