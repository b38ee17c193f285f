"""Images/s of a real worker, from event to acknowledged row, beside the bare models in the same run.

Real broker (the embedded one), real HTTP downloads from another process, real Faust worker, real networks;
CLIP and CoOp share a ViT-B-16 with random weights, which is as slow as the real one. The bare models get
the same pictures, decoded already, in their best batches: prepare, infer, finish in a plain loop, one such
loop for each core; beside it the same with decoding in the loop. Prints one JSON line.

    python benchmarks/end_to_end.py [--models nudenet,mfd,clip,coop] [--events 1500] [--runs 3]
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
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
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
from streamapp.models.base import AnyNetwork
from streamapp.models.registry import build_models
from streamapp.models.store import Store
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
BATCHES = (1, 4, 8)
INSTANCES = 2
# Before torch is imported: each loop of the bare models has one thread, and idle ones do not spin.
BARE_THREADS = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}


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


def bare(settings: Settings, folder: Path, seconds: float) -> dict[str, float]:
    """The networks alone, as many sets of them as the worker has instances, at the best batch size.

    Returns:
        Images/s on decoded pictures, and with the decoding in the same loop: what these cores can do
        for a picture without HTTP, Kafka and a row.
    """
    policy = load_policy()
    sets = [build_models(settings, policy) for _ in range(INSTANCES)]
    limits = Limits.from_settings(settings)
    contents = [path.read_bytes() for path in sorted(folder.iterdir())]
    frames = [decode(content, limits).frames[0] for content in contents]

    def decoded(number: int) -> Frame:
        return frames[number % len(frames)]

    def decode_too(number: int) -> Frame:
        return decode(contents[number % len(contents)], limits).frames[0]

    with ThreadPoolExecutor(len(sets)) as pool:
        # One after the other: a network that measures its precision must not measure its neighbour too.
        for networks in sets:
            pool.submit(_load, networks).result()
        rates = {size: _rate(pool, sets, decoded, size, seconds) for size in BATCHES}
        best = max(rates, key=lambda size: rates[size])
        return {"model": rates[best], "model_and_decode": _rate(pool, sets, decode_too, best, seconds)}


def _load(networks: list[AnyNetwork]) -> None:
    for network in networks:
        network.load()
        network.warm_up()


def _rate(
    pool: ThreadPoolExecutor,
    sets: list[list[AnyNetwork]],
    frame: Callable[[int], Frame],
    size: int,
    seconds: float,
) -> float:
    """Images/s of all sets together, each looping in a thread of its own."""

    def loop(networks: list[AnyNetwork]) -> float:
        done, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds:
            batch = [frame(done + number) for number in range(size)]
            for network in networks:
                prepared = [network.prepare(one) for one in batch]
                for raw, one in zip(network.infer(prepared), prepared, strict=True):
                    network.finish(raw, one)
            done += size
        return done / (time.perf_counter() - start)

    return round(sum(pool.map(loop, sets)), 2)


async def end_to_end(settings: Settings, environment: dict[str, str], urls: list[str]) -> dict[str, Any]:
    """A worker on events that are all there when it starts; timed from the first row to the last."""
    await ensure_topics(settings)
    async with OutcomeReader(settings) as reader:
        await send(settings, urls)
        with worker_process(environment) as worker:
            return await _watch(reader, worker, len(urls))


async def send(settings: Settings, urls: list[str]) -> None:
    """An event for each URL."""
    async with AIOKafkaProducer(bootstrap_servers=settings.brokers, linger_ms=5) as producer:
        for user, url in enumerate(urls):
            value = make_event(str(user), url)
            await producer.send(settings.events_topic, value, key=str(user).encode())


@contextmanager
def worker_process(environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A Faust worker for the length of the block."""
    command = [sys.executable, "-m", "faust", "-A", "streamapp.worker", "worker", "--without-web"]
    inherited = {name: value for name, value in os.environ.items() if name not in BARE_THREADS}
    worker = subprocess.Popen(command, env=inherited | environment, stdout=subprocess.DEVNULL)
    try:
        yield worker
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
        assert all(
            outcome.row and not any(outcome.row.MODEL_ATTRIBUTES.statuses().values()) for outcome in outcomes
        )
        seen.update(outcome.source for outcome in outcomes)
        if seen and not first_seen:
            first_seen, started_s, cpu_s = len(seen), time.perf_counter(), _cpu_s(worker.pid)
    done, wall_s = events - first_seen, time.perf_counter() - started_s
    return {
        "images_per_s": round(done / wall_s, 1),
        "worker_cpu_s_per_image": round((_cpu_s(worker.pid) - cpu_s) / done, 4),
    }


def _cpu_s(pid: int) -> float:
    """CPU seconds of a process and of its children, those that have ended too."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    own_s = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    children = [child for task in Path(f"/proc/{pid}/task").iterdir() for child in _children(task)]
    return own_s + sum(map(_cpu_s, children))


def _children(task: Path) -> list[int]:
    return [int(child) for child in (task / "children").read_text().split()]


def run_once(
    folder: Path, base_url: str, models: dict[str, str], events: int, seconds: float
) -> dict[str, Any]:
    with EmbeddedBroker() as broker:
        environment = variables(broker) | {"STREAMAPP_ALLOW_PRIVATE_HOSTS": "127.0.0.1"} | models
        settings = load_settings(environment)
        names = sorted(path.name for path in folder.iterdir())
        urls = [base_url + names[number % len(names)] for number in range(events)]
        before = bare(settings, folder, seconds)
        whole = asyncio.run(end_to_end(settings, environment, urls))
        after = bare(settings, folder, seconds)
    # The machine drifts: the bare model is measured on both sides of the run.
    model, with_decode = ((before[name] + after[name]) / 2 for name in ("model", "model_and_decode"))
    rate = whole["images_per_s"]
    return {
        "bare_images_per_s": model,
        "bare_with_decode_images_per_s": with_decode,
        "end_to_end_images_per_s": rate,
        "worker_cpu_s_per_image": whole["worker_cpu_s_per_image"],
        "ratio": rate / model,
        "ratio_with_decode": rate / with_decode,
    }


@contextmanager
def server_process(script: str, *arguments: str) -> Iterator[str]:
    """A server of this folder in a process of its own; the block gets the line that it prints."""
    command = [sys.executable, str(Path(__file__).with_name(script)), *arguments]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
    finally:
        server.terminate()
        server.wait(20)


def model_variables(models: str, folder: Path) -> dict[str, str]:
    """One instance with one thread for each core, which is quickest on a CPU; weights for CLIP and CoOp."""
    names = models.split(",")
    chosen = {"STREAMAPP_MODELS": models, "STREAMAPP_MODEL_CACHE": str(folder / "cache")}
    for name in {"nudenet", "mfd", "clip"}:
        chosen |= {f"STREAMAPP_{name.upper()}_INSTANCES": str(INSTANCES)}
        chosen |= {f"STREAMAPP_{name.upper()}_THREADS": "1"}
    if "mfd" in names:
        fetched = Store(load_settings({}))
        chosen |= {
            f"STREAMAPP_MFD_{part.upper()}_WEIGHTS": str(fetched.fetch(f"mfd-{part}").path)
            for part in ("palm", "landmark")
        }
    if {"clip", "coop"} & set(names):
        from random_clip import write_random_clip

        chosen |= {"STREAMAPP_CLIP_MODEL": "ViT-B-16/none", "STREAMAPP_COOP_MODEL": "ViT-B-16/none"}
        chosen |= {"STREAMAPP_CLIP_WEIGHTS": str(write_random_clip(folder))}
    return chosen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default="nudenet")
    parser.add_argument("--events", type=int, default=1500)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="for each batch size of the bare model")
    arguments = parser.parse_args()
    os.environ |= BARE_THREADS
    with tempfile.TemporaryDirectory() as name, tempfile.TemporaryDirectory() as weights:
        folder = Path(name)
        make_pictures(folder)
        models = model_variables(arguments.models, Path(weights))
        with server_process("serve_pictures.py", name) as base_url:
            runs = [
                run_once(folder, base_url, models, arguments.events, arguments.seconds)
                for _ in range(arguments.runs)
            ]
    medians = {name: round(statistics.median(run[name] for run in runs), 4) for name in runs[0]}
    result = {
        "benchmark": "end_to_end",
        "models": arguments.models.split(","),
        "events": arguments.events,
        "runs": arguments.runs,
        **medians,
        **machine_facts("onnxruntime", "faust-streaming", "aiokafka", "pillow"),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
