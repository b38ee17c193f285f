"""From a URL to what the models take: fetch, decode, prepare; the event loop does none of the work."""

import asyncio
import hashlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace

from streamapp.errors import FetchError, MediaError, PictureError
from streamapp.fetch.downloader import Downloader
from streamapp.fetch.job import Admit
from streamapp.media import Frame, Picture
from streamapp.models.ensemble import PreparedFrames


@dataclass(frozen=True, slots=True)
class Content:
    """What is known of a file's bytes, also where they can't be decoded."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Obtained:
    """What became of an event's URL: a picture, or the error that stands in its place.

    Attributes:
        picture: without its frames' pixels, which the models don't need once they are prepared.
        prepared: the picture's frames as the models take them; empty where there is no picture.
        content: None where the file could not be had.
        attempts: requests made for the file, redirects not counted.
    """

    picture: Picture | None
    error: PictureError | None
    prepared: PreparedFrames = ()
    content: Content | None = None
    attempts: int = 1
    fetch_s: float = 0.0
    decode_s: float = 0.0
    prepare_s: float = 0.0


class PictureSource:
    """Obtains pictures by URL.

    Args:
        downloader: the guarded downloader, open.
        cpu: threads that wait for decoders and prepare.
        decode: makes a picture of a file's bytes, or raises MediaError; called on those threads.
        prepare: makes of a picture's frames what the models take.
    """

    def __init__(
        self,
        downloader: Downloader,
        cpu: Executor,
        decode: Callable[[bytes], Picture],
        prepare: Callable[[Sequence[Frame]], PreparedFrames],
    ) -> None:
        self._downloader = downloader
        self._cpu = cpu
        self._decode = decode
        self._prepare = prepare

    async def obtain(self, url: str, *, admit: Admit | None = None) -> Obtained:
        """Fetch, decode and prepare; what can go wrong with a picture is in the answer, never raised.

        Args:
            url: as the event has it.
            admit: is awaited before the file's bytes go on, while the download's slot is held: so the
                caller bounds the pictures in memory.
        """
        started_at = time.perf_counter()
        try:
            download = await self._downloader.fetch(url, admit=admit)
        except FetchError as exc:
            return Obtained(None, exc, attempts=exc.attempts, fetch_s=time.perf_counter() - started_at)
        obtained = await self.decode(download.content)
        return replace(obtained, attempts=download.attempts, fetch_s=download.fetch_s)

    async def decode(self, content: bytes) -> Obtained:
        """Decode and prepare bytes that are here already."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._cpu, self._look, content)

    def _look(self, content: bytes) -> Obtained:
        started_at = time.perf_counter()
        try:
            picture = self._decode(content)
        except MediaError as exc:
            facts = Content(hashlib.sha256(content).hexdigest(), len(content))
            return Obtained(None, exc, content=facts, decode_s=time.perf_counter() - started_at)
        decoded_at = time.perf_counter()
        prepared = self._prepare(picture.frames)
        return Obtained(
            picture.without_pixels(),
            None,
            prepared,
            Content(picture.sha256, picture.size_bytes),
            decode_s=decoded_at - started_at,
            prepare_s=time.perf_counter() - decoded_at,
        )
