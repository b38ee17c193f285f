"""What a worker does with a URL, short of the models: the guarded downloader and the decoder processes."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from adversarial.cases import SETTINGS, Case
from adversarial.internet import Internet

from streamapp.errors import PictureError
from streamapp.fetch.downloader import Downloader
from streamapp.media.decode import Limits
from streamapp.media.sandbox.pool import DecoderPool
from streamapp.obtain import PictureSource
from streamapp.reasons import Reason, Status
from streamapp.settings import Settings


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a case.

    Attributes:
        error: with its message, for whoever asks why.
        escapes: connections that must not have been tried.
    """

    status: Status
    reason: Reason | None
    error: PictureError | None
    escapes: list[str]


class Worker:
    """Runs cases; keeps the decoder processes of one for the next with the same settings."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._cpu = self._stack.enter_context(ThreadPoolExecutor(2))
        self._pools: dict[object, DecoderPool] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    async def outcome(self, case: Case) -> Outcome:
        """Set the case up, obtain its URL as often as it says, and tell the last outcome."""
        settings = Settings(**{**SETTINGS, **case.settings})
        async with Internet.opened() as internet:
            url = await case.make(internet)
            async with Downloader(settings, resolver=internet.names) as downloader:
                decode = self._pool(settings, case.loader).decode
                source = PictureSource(downloader, self._cpu, decode, lambda frames: ())
                for _ in range(case.times):
                    obtained = await source.obtain(url)
        reason = obtained.error.reason if obtained.error else None
        status = reason.status if reason else Status.PREDICTED
        return Outcome(status, reason, obtained.error, internet.escapes)

    def _pool(self, settings: Settings, loader: str) -> DecoderPool:
        limits = Limits.from_settings(settings)
        key = (limits, settings.decode_timeout_s, settings.decode_memory_mb, loader)
        if key not in self._pools:
            pool = DecoderPool(
                limits,
                decoders=1,
                timeout_s=settings.decode_timeout_s,
                memory_mb=settings.decode_memory_mb,
                loader=loader,
            )
            self._pools[key] = self._stack.enter_context(pool)
        return self._pools[key]
