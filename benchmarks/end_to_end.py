"""Images/s of a real worker, from event to acknowledged row, beside the bare model in the same run.

Real broker (the embedded one), real HTTP downloads from another process, real Faust worker, real NudeNet.
The bare model gets the same pictures, decoded already, in its best batches: prepare, infer, finish in a
plain loop. Prints one JSON line.

    python benchmarks/end_to_end.py [--events 1500] [--runs 3]
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import skimage
from aiokafka import AIOKafkaProducer
from machine import machine_facts
from PIL import Image
from stream import variables

from streamapp.local.broker import EmbeddedBroker
from streamapp.local.events import make_event
from streamapp.local.outcomes import OutcomeReader
from streamapp.media import Frame
from streamapp.media.decode import Limits, decode
from streamapp.models.registry import build_models
from streamapp.policy import load_policy
from streamapp.settings import Settings, load_settings
from streamapp.topics import ensure_topics

PHOTOS = (
    "astronaut.png",
    "chelsea.png",
    "coffee.png",
    "rocket.jpg",
    "motorcycle_left.png",
    "hubble_deep_field.jpg",
)
PICTURES = 64


def make_pictures(folder: Path) -> None:
    """64 files of 320 to 1080 px from six photos, every fourth a PNG: about 150 kB each."""
    data = Path(skimage.__file__).parent / "data"
    sides = np.linspace(320, 1080, PICTURES).astype(int)
    for number, side in enumerate(sides):
        with Image.open(data / PHOTOS[number % len(PHOTOS)]) as photo:
            picture = photo.convert("RGB").resize((int(side), int(side * 0.8)), Image.Resampling.LANCZOS)
        if number % 4:
            picture.save(folder / f"{number}.jpg", quality=90)
        else:
            picture.save(folder / f"{number}.png")


def bare(settings: Settings, folder: Path, seconds: float) -> dict[str, Any]:
    """The model alone on decoded pictures, batch by batch, at each of its batch sizes."""
    (model,) = build_models(settings, load_policy(settings.policy_file))
    model.load()
    model.warm_up()
    limits = Limits.from_settings(settings)
    frames = [decode(path.read_bytes(), limits).frames[0] for path in sorted(folder.iterdir())]
    rates = {size: _rate(model, frames, size, seconds) for size in model.batch_sizes}
    return {"images_per_s": max(rates.values()), "by_batch": rates}


def _rate(model: Any, frames: list[Frame], size: int, seconds: float) -> float:
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        batch = [model.prepare(frames[(done + i) % len(frames)]) for i in range(size)]
        for raw, prepared in zip(model.infer(batch), batch, strict=True):
            model.finish(raw, prepared)
        done += size
    return round(done / (time.perf_counter() - start), 1)


async def end_to_end(settings: Settings, environment: dict[str, str], urls: list[str]) -> dict[str, Any]:
    """A worker on events that are all there when it starts; timed from the first row to the last."""
    await ensure_topics(settings)
    async with OutcomeReader(settings) as reader:
        async with AIOKafkaProducer(bootstrap_servers=settings.brokers, linger_ms=5) as producer:
            for user, url in enumerate(urls):
                value = make_event(str(user), url)
                await producer.send(settings.events_topic, value, key=str(user).encode())
        command = [sys.executable, "-m", "faust", "-A", "streamapp.worker", "worker", "--without-web"]
        worker = subprocess.Popen(command, env=os.environ | environment, stdout=subprocess.DEVNULL)
        try:
            return await _watch(reader, worker, len(urls))
        finally:
            worker.terminate()
            worker.wait(60)


async def _watch(reader: OutcomeReader, worker: subprocess.Popen[bytes], events: int) -> dict[str, Any]:
    seen: set[Any] = set()
    first_seen, started_s, cpu_s = 0, 0.0, 0.0
    while len(seen) < events:
        if worker.poll() is not None:
            raise SystemExit(f"The worker ended with {worker.returncode}.")
        outcomes = await reader.read(0.2)
        assert all(outcome.row and not outcome.row.MODEL_ATTRIBUTES.NN_STATUS for outcome in outcomes)
        seen.update(outcome.source for outcome in outcomes)
        if seen and not first_seen:
            first_seen, started_s, cpu_s = len(seen), time.perf_counter(), _cpu_s(worker.pid)
    done, wall_s = events - first_seen, time.perf_counter() - started_s
    return {
        "images_per_s": round(done / wall_s, 1),
        "worker_cpu_s_per_image": round((_cpu_s(worker.pid) - cpu_s) / done, 4),
    }


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run_once(folder: Path, base_url: str, events: int, seconds: float) -> dict[str, Any]:
    with EmbeddedBroker() as broker:
        environment = variables(broker) | {
            "STREAMAPP_ALLOW_PRIVATE_HOSTS": "127.0.0.1",
            "STREAMAPP_EVENTS_IN_FLIGHT": "128",
        }
        settings = load_settings(environment)
        names = sorted(path.name for path in folder.iterdir())
        urls = [base_url + names[number % len(names)] for number in range(events)]
        before = bare(settings, folder, seconds)
        whole = asyncio.run(end_to_end(settings, environment, urls))
        after = bare(settings, folder, seconds)
    # The machine drifts: the bare model is measured on both sides of the run.
    model = (before["images_per_s"] + after["images_per_s"]) / 2
    return {
        "bare": model,
        "end_to_end": whole["images_per_s"],
        "ratio": whole["images_per_s"] / model,
        **whole,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1500)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="for each batch size of the bare model")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_pictures(folder)
        server = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("serve_pictures.py")), name],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert server.stdout is not None
            base_url = server.stdout.readline().strip()
            runs = [
                run_once(folder, base_url, arguments.events, arguments.seconds) for _ in range(arguments.runs)
            ]
        finally:
            server.terminate()
            server.wait(20)
    result = {
        "benchmark": "end_to_end",
        "models": ["nudenet"],
        "events": arguments.events,
        "bare_images_per_s": statistics.median(run["bare"] for run in runs),
        "end_to_end_images_per_s": statistics.median(run["end_to_end"] for run in runs),
        "worker_cpu_s_per_image": statistics.median(run["worker_cpu_s_per_image"] for run in runs),
        "ratio": round(statistics.median(run["ratio"] for run in runs), 3),
        "ratios": [round(run["ratio"], 3) for run in runs],
        **machine_facts("onnxruntime", "faust-streaming", "aiokafka", "pillow"),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
