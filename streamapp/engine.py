"""From a URL to a result row, without Kafka: what the worker and `streamapp moderate` share."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING

from streamapp.compose import Composer
from streamapp.fetch.downloader import Downloader
from streamapp.media.sandbox.pool import DecoderPool
from streamapp.models.ensemble import Ensemble
from streamapp.models.registry import build_ensemble
from streamapp.obtain import Obtained, PictureSource
from streamapp.policy import Policy
from streamapp.records import Event, ResultRow, SourcePosition
from streamapp.settings import Settings

if TYPE_CHECKING:
    from streamapp.spans import EventTrace

logger = logging.getLogger(__name__)


class Engine:
    """Obtains pictures, shows them to the models, composes their rows.

    Attributes:
        source: obtains a picture by its URL or from its bytes.
        ensemble: the models.
        downloader, decoders: what `source` works with, for the metrics; None where it has none.
    """

    def __init__(
        self,
        source: PictureSource,
        ensemble: Ensemble,
        composer: Composer,
        *,
        downloader: Downloader | None = None,
        decoders: DecoderPool | None = None,
    ) -> None:
        self.source = source
        self.ensemble = ensemble
        self.downloader = downloader
        self.decoders = decoders
        self._composer = composer

    async def judge(
        self,
        event: Event,
        obtained: Obtained,
        *,
        source: SourcePosition | None,
        received_at: datetime,
        started_s: float,
        trace: "EventTrace | None" = None,
    ) -> ResultRow:
        """Show what was obtained to every model and compose the event's row.

        Args:
            source: None where the event did not come from Kafka.
            received_at: UTC time at which the event was received.
            started_s: the same moment on `time.monotonic`.
            trace: the event's span; None where it has none.

        Raises:
            BatchTimeoutError: a model hangs; the process must end.
            DeviceLostError: a model fails on whatever it is given; likewise.
        """
        if obtained.picture is not None:
            reports = await self.ensemble.look(obtained.prepared, trace)
            for report in reports:
                if report.error is not None:
                    logger.warning(
                        "%s: %s failed on the picture, which a person must look at: %s",
                        source or f"user {event.user_id!r}",
                        report.name,
                        report.error,
                    )
        elif obtained.error is not None:
            reports = self.ensemble.failed(obtained.error.reason)
        else:
            raise RuntimeError(f"{source or event} has no picture and no error. This is a bug.")
        total_s = time.monotonic() - started_s
        return self._composer.compose(event, source, received_at, total_s, obtained, reports)


@asynccontextmanager
async def open_engine(
    settings: Settings, policy: Policy, *, backfill: str | None = None
) -> AsyncIterator[Engine]:
    """Start the decoders, open the downloader, load the models, warm them up; close all in reverse order.

    Args:
        backfill: the id of the run that the rows will carry.

    Raises:
        WeightsError: a model's file is missing or is not the expected one.
        StreamappError: the decoders don't start.
    """
    cpu = ThreadPoolExecutor(settings.decode_threads, thread_name_prefix="cpu")
    # Not the decoders' threads: an answer would wait there behind every picture that is to be decoded, which
    # can take longer than a model may hang.
    finishers = ThreadPoolExecutor(settings.decode_threads, thread_name_prefix="finish")
    decoders = DecoderPool.from_settings(settings, decoders=settings.decode_threads)
    try:
        # The decoders start while the models load.
        with decoders:
            async with (
                Downloader(settings) as downloader,
                build_ensemble(settings, policy, finishers) as ensemble,
            ):
                await asyncio.get_running_loop().run_in_executor(cpu, decoders.wait_until_ready)
                source = PictureSource(downloader, cpu, decoders.decode, ensemble.prepare)
                composer = Composer(settings.model_version, policy, backfill)
                yield Engine(source, ensemble, composer, downloader=downloader, decoders=decoders)
    finally:
        for threads in (cpu, finishers):
            threads.shutdown(wait=False, cancel_futures=True)
