"""The worker of `stream.py`: the real app with an engine that costs nothing. Run by it through Faust.

Ends by itself after STREAM_EVENTS events and writes its figures to the file STREAM_FIGURES; with
STREAM_METRICS_ROUNDS above 0 those of about so many stretches with metrics and as many without.
"""

import asyncio
import itertools
import json
import os
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
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

observe = Histogram.observe
# Half of the time there are metrics, in stretches that are shorter: about once a second of it.
ASK_EVERY_S = 1.6
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


mode.loop.use(os.environ.get("STREAM_LOOP", "uvloop"))
app = create_app(load_settings(), open_free_engine)


@app.task
async def measure() -> None:
    """Write the figures once every event has its outcome, then stop the worker."""
    while not getattr(app, "intake", None) or app.intake.outcomes.total() == 0:
        await asyncio.sleep(0.001)
    rounds = int(os.environ["STREAM_METRICS_ROUNDS"])
    figures = await metrics_in_turns(rounds) if rounds else await until(EVENTS)
    Path(os.environ["STREAM_FIGURES"]).write_text(json.dumps(figures))
    await app.stop()
    os._exit(0)


async def until(events: int) -> dict[str, int]:
    """Events/s and CPU time per event from now until so many have their outcome."""
    start, cpu, first = time.perf_counter(), time.process_time(), app.intake.outcomes.total()
    while app.intake.outcomes.total() < events:
        await asyncio.sleep(0.005)
    wall_s, cpu_s = time.perf_counter() - start, time.process_time() - cpu
    done = app.intake.outcomes.total() - first
    return {"events_per_s": round(done / wall_s), "cpu_us_per_event": round(cpu_s / done * 1e6)}


async def metrics_in_turns(rounds: int) -> dict[str, list[dict[str, int]]]:
    """As many stretches of events with metrics as without, side by side: with, without, without, with, …

    With: kept, and asked for, by this process itself, whose cost counts as theirs. Without: no histogram,
    which is what costs something for each event, and nobody asks.
    """
    found: dict[str, list[dict[str, int]]] = {"with_metrics": [], "without_metrics": []}
    has_metrics = asyncio.Event()
    asking = asyncio.create_task(ask_for_metrics(has_metrics))
    # The first events are slower: those of a worker that has just begun.
    await until(EVENTS // 10)
    size = (EVENTS - app.intake.outcomes.total()) // (2 * rounds)
    for turn in itertools.count():
        end = app.intake.outcomes.total() + size
        if end > EVENTS:
            break
        if asking.done():
            await asking
        is_with = turn % 4 in (0, 3)
        Histogram.observe = observe if is_with else lambda self, value: None  # type: ignore[method-assign]
        (has_metrics.set if is_with else has_metrics.clear)()
        found["with_metrics" if is_with else "without_metrics"].append(await until(end))
    whole = min(map(len, found.values()))
    return {name: stretches[:whole] for name, stretches in found.items()}


async def ask_for_metrics(has_metrics: asyncio.Event) -> None:
    """As Prometheus does, more than once for each second in which there are metrics."""
    url = f"http://127.0.0.1:{os.environ['STREAMAPP_WEB_PORT']}/metrics"
    async with aiohttp.ClientSession() as session:
        while True:
            await has_metrics.wait()
            async with session.get(url) as response:
                response.raise_for_status()
                await response.read()
            await asyncio.sleep(ASK_EVERY_S)
