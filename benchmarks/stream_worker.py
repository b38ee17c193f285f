"""The worker of `stream.py`: the real app with an engine that costs nothing. Run by it through Faust.

Ends by itself after STREAM_EVENTS events and writes its figures to the file STREAM_FIGURES.
"""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import mode.loop
import numpy as np

from streamapp.app import create_app
from streamapp.compose import Composer
from streamapp.engine import Engine
from streamapp.histogram import Histogram
from streamapp.media import Frame, Picture
from streamapp.models.base import Findings, Model, ModelInfo, Verdict
from streamapp.models.ensemble import Ensemble
from streamapp.models.runner import ModelRunner
from streamapp.obtain import Content, Obtained
from streamapp.policy import Policy
from streamapp.settings import Settings, load_settings

EVENTS = int(os.environ["STREAM_EVENTS"])
PICTURE = Picture("00" * 32, "image/png", 9, 4, 4, (Frame(np.zeros((4, 4, 3), np.uint8)),))


class FreeModel(Model[Frame, float, float]):
    """Costs nothing, and has everything else of a model: threads, batches, a verdict."""

    name = "nudenet"
    prefix = "NN"
    batch_sizes = (1, 4, 16, 64)
    info = ModelInfo("free", "00" * 32, "fp32", "cpu")

    def check_weights(self) -> None: ...

    def load(self) -> None: ...

    def warm_up(self) -> None: ...

    def prepare(self, frame: Frame) -> Frame:
        return frame

    def infer(self, batch: Sequence[Frame]) -> Sequence[float]:
        return [0.0] * len(batch)

    def finish(self, raw: float, prepared: Frame) -> float:
        return raw

    def judge(self, findings: Findings) -> Verdict:
        return Verdict(False, {"NN_SAFE_SCORES": "1.0000", "NN_UNSAFE_SCORES": "0.0000"})


class FreeSource:
    """Has every picture already; prepares it, which the real source does in the job that decodes."""

    def __init__(self, ensemble: Ensemble) -> None:
        self.ensemble = ensemble

    async def obtain(self, url: str, **_: object) -> Obtained:
        prepared = self.ensemble.prepare(PICTURE.frames)
        return Obtained(PICTURE, None, prepared, Content("00" * 32, 9))


@asynccontextmanager
async def open_free_engine(settings: Settings, policy: Policy) -> AsyncIterator[Engine]:
    with ThreadPoolExecutor(settings.decode_threads) as cpu:
        runners = [
            ModelRunner(
                FreeModel, cpu, instances=1, max_queued=512, max_wait_s=settings.batch_wait_s, timeout_s=60
            )
            for _ in range(int(os.environ["STREAM_MODELS"]))
        ]
        async with Ensemble(runners) as ensemble:
            composer = Composer(settings.model_version, policy)
            yield Engine(FreeSource(ensemble), ensemble, composer)  # type: ignore[arg-type]  # a source by its one method


if os.environ["STREAM_METRICS"] == "0":
    Histogram.observe = lambda self, value: None  # type: ignore[method-assign]  # the worker without them

mode.loop.use(os.environ.get("STREAM_LOOP", "uvloop"))
app = create_app(load_settings(), open_free_engine)


@app.task
async def measure() -> None:
    """Write the figures once every event has its outcome, then stop the worker."""
    while not getattr(app, "intake", None) or app.intake.outcomes.total() == 0:
        await asyncio.sleep(0.001)
    start, cpu, first = time.perf_counter(), time.process_time(), app.intake.outcomes.total()
    while app.intake.outcomes.total() < EVENTS:
        await asyncio.sleep(0.01)
    wall_s, cpu_s = time.perf_counter() - start, time.process_time() - cpu
    figures = {
        "events_per_s": round((EVENTS - first) / wall_s),
        "cpu_us_per_event": round(cpu_s / (EVENTS - first) * 1e6),
    }
    Path(os.environ["STREAM_FIGURES"]).write_text(json.dumps(figures))
    await app.stop()
    os._exit(0)
