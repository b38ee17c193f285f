"""From a URL to a result row, without Kafka: what the worker and `streamapp moderate` share."""

import asyncio
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import datetime

from streamapp.compose import Composer
from streamapp.fetch.downloader import Downloader
from streamapp.media.decode import Limits
from streamapp.media.sandbox.pool import DecoderPool
from streamapp.models.ensemble import Ensemble
from streamapp.models.registry import build_ensemble
from streamapp.obtain import Obtained, PictureSource
from streamapp.policy import Policy
from streamapp.records import Event, ResultRow, SourcePosition
from streamapp.settings import Settings


class Engine:
    """Obtains pictures, shows them to the models, composes their rows.

    Attributes:
        source: obtains a picture by its URL or from its bytes.
    """

    def __init__(self, source: PictureSource, ensemble: Ensemble, composer: Composer) -> None:
        self.source = source
        self._ensemble = ensemble
        self._composer = composer

    async def judge(
        self,
        event: Event,
        obtained: Obtained,
        *,
        source: SourcePosition | None,
        received_at: datetime,
        started_s: float,
    ) -> ResultRow:
        """Show what was obtained to every model and compose the event's row.

        Args:
            source: None where the event did not come from Kafka.
            received_at: UTC time at which the event was received.
            started_s: the same moment on `time.monotonic`.

        Raises:
            BatchTimeoutError: a model hangs; the process must end.
        """
        if obtained.picture is not None:
            reports = await self._ensemble.look(obtained.prepared)
        elif obtained.error is not None:
            reports = self._ensemble.failed(obtained.error.reason)
        else:
            raise RuntimeError(f"{source or event} has no picture and no error. This is a bug.")
        total_s = time.monotonic() - started_s
        return self._composer.compose(event, source, received_at, total_s, obtained, reports)


@asynccontextmanager
async def open_engine(settings: Settings, policy: Policy) -> AsyncIterator[Engine]:
    """Start the decoders, open the downloader, load the models, warm them up; close all in reverse order.

    Raises:
        WeightsError: a model's file is missing or is not the expected one.
        StreamappError: the decoders don't start.
    """
    cpu = ThreadPoolExecutor(settings.decode_threads, thread_name_prefix="cpu")
    decoders = DecoderPool(
        Limits.from_settings(settings),
        decoders=settings.decode_threads,
        timeout_s=settings.decode_timeout_s,
        memory_mb=settings.decode_memory_mb,
    )
    try:
        # The decoders start while the models load.
        with decoders:
            async with (
                Downloader(settings) as downloader,
                build_ensemble(settings, policy, cpu) as ensemble,
            ):
                await asyncio.get_running_loop().run_in_executor(cpu, decoders.wait_until_ready)
                source = PictureSource(downloader, cpu, decoders.decode, ensemble.prepare)
                yield Engine(source, ensemble, Composer(settings.model_version, policy))
    finally:
        cpu.shutdown(wait=False, cancel_futures=True)
