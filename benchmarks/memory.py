"""Resident memory of a worker on 10,000 events of 8 MB pictures, with the CDN and the broker slow.

Apache Kafka where Java and Maven are (else the embedded broker), a real HTTP server in a process of its own,
a real Faust worker, NudeNet. Nine of ten pictures are JPEGs whose metadata makes them large, every tenth is a
PNG of as many bytes that is costly to decode. While events wait, three times in a run: the CDN gives each
connection 2 MB/s; then the broker stands still as well (SIGSTOP), so that no row gets out and pictures pile
up; then the CDN is fast again, and the broker still away. The rest of the time both do what they can.

Memory is that of the worker and its decoders together (/proc, Linux only; what processes share counts in
each), sampled four times a second. The bound is the README's formula. Prints one JSON line; ends with 1
where the bound was passed or events were left.

    python benchmarks/memory.py [--events 10000] [--cycles 3] [--phase-s 12] [--broker embedded]
    python benchmarks/memory.py --events 500 --cycles 1          about a minute
"""

import argparse
import asyncio
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
from brokers import running_broker
from end_to_end import model_variables, send, server_process, worker_process
from machine import machine_facts
from PIL import Image
from resident import own_and_descendants
from stream import variables

from streamapp.local.outcomes import OutcomeReader
from streamapp.records import SourcePosition
from streamapp.settings import Settings, load_settings
from streamapp.topics import ensure_topics

PNG_SIDE_PX, JPEG_SIDE_PX = 1633, 640
COSTLY_EVERY = 10
SEGMENT_BYTES = 65_533
CDN_BYTES_PER_S = 2_000_000
# A little above the files: the formula then says what these pictures may take.
MAX_DOWNLOAD_BYTES = 8_400_000
PREPARED_FRAME_BYTES = 1_500_000
DECODE_BYTES_PER_PIXEL = 14
SAMPLE_EVERY_S = 0.25
WARM_UP_TIMEOUT_S = 120.0
STALLED_AFTER_S = 180.0
MB = 1_000_000


@dataclass(slots=True)
class Watch:
    """What is sampled.

    Attributes:
        resident: phase → worker's and decoders' bytes, one pair for each sample.
        done: the events that have a row.
        rows: all rows, those of repeats too.
        reasons: of rows without a verdict.
    """

    resident: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    phase: str = "idle"
    done: set[SourcePosition] = field(default_factory=set)
    rows: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    def peak_mb(self, phase: str) -> int:
        return max(map(sum, self.resident[phase])) // MB


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is made slow.

    Attributes:
        cdn: its base URL.
        broker: its process's id.
    """

    cdn: str
    broker: int

    async def set_cdn_rate(self, bytes_per_s: int | None) -> None:
        async with aiohttp.ClientSession() as session:
            text = "" if bytes_per_s is None else str(bytes_per_s)
            async with session.put(f"{self.cdn}rate", data=text) as response:
                response.raise_for_status()


def make_pictures(folder: Path) -> dict[str, int]:
    """A PNG that can't be compressed, and a JPEG as large by its metadata; name → bytes."""
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (PNG_SIDE_PX, PNG_SIDE_PX, 3), np.uint8)
    Image.fromarray(pixels).save(folder / "costly.png", compress_level=0)
    size = (folder / "costly.png").stat().st_size
    jpeg = io.BytesIO()
    Image.linear_gradient("L").resize((JPEG_SIDE_PX, JPEG_SIDE_PX)).convert("RGB").save(jpeg, "JPEG")
    # APP11, which carries where a picture comes from (C2PA), behind the mark of the start.
    segment = b"\xff\xeb" + (SEGMENT_BYTES + 2).to_bytes(2, "big")
    segments = (segment + random.bytes(SEGMENT_BYTES) for _ in range(size // SEGMENT_BYTES))
    content = jpeg.getvalue()
    (folder / "cheap.jpg").write_bytes(content[:2] + b"".join(segments) + content[2:])
    return {path.name: path.stat().st_size for path in sorted(folder.iterdir())}


def bound_bytes(settings: Settings, decoder_bytes: int) -> int:
    """What the settings allow beside an idle worker, for pictures of one frame (README, "Memory")."""
    downloading = settings.downloads_in_flight * settings.max_download_bytes
    waiting = settings.pictures_in_flight * (settings.max_download_bytes + PREPARED_FRAME_BYTES)
    return downloading + waiting + settings.decode_threads * decoder_bytes


async def measure(
    environment: dict[str, str], surroundings: Surroundings, arguments: argparse.Namespace, watch: Watch
) -> None:
    """Run a worker on all events; what is left when it makes no progress any more is left."""
    settings = load_settings(environment)
    await ensure_topics(settings)
    cheap, costly = surroundings.cdn + "cheap.jpg", surroundings.cdn + "costly.png"
    urls = [costly if number % COSTLY_EVERY == 0 else cheap for number in range(arguments.events)]
    async with OutcomeReader(settings) as reader:
        with worker_process(environment) as worker:
            sampling = asyncio.create_task(_sample(worker.pid, watch))
            counting = asyncio.create_task(_count(reader, watch))
            try:
                # Models' and decoders' own memory is in the idle figure: two rows for each decoder.
                warm_up = [cheap, costly] * settings.decode_threads
                await send(settings, warm_up)
                await _until_done(watch, len(warm_up), worker, counting, WARM_UP_TIMEOUT_S)
                await asyncio.sleep(2.0)
                watch.done.clear()
                watch.rows = 0
                await send(settings, urls)
                await _work_off(watch, surroundings, arguments, worker, counting)
            finally:
                for task in (sampling, counting):
                    task.cancel()
                await asyncio.wait([sampling, counting])


async def _work_off(
    watch: Watch,
    surroundings: Surroundings,
    arguments: argparse.Namespace,
    worker: subprocess.Popen[bytes],
    counting: asyncio.Task[None],
) -> None:
    for cycle in range(arguments.cycles):
        watch.phase = "all_well"
        await _until_done(watch, arguments.events * cycle // arguments.cycles, worker, counting)
        await _make_slow(watch, surroundings, arguments.phase_s)
    watch.phase = "all_well"
    await _until_done(watch, arguments.events, worker, counting)


async def _make_slow(watch: Watch, surroundings: Surroundings, phase_s: float) -> None:
    watch.phase = "slow_cdn"
    await surroundings.set_cdn_rate(CDN_BYTES_PER_S)
    await asyncio.sleep(phase_s)
    watch.phase = "slow_cdn_no_broker"
    os.kill(surroundings.broker, signal.SIGSTOP)
    try:
        await asyncio.sleep(phase_s)
        watch.phase = "no_broker"
        await surroundings.set_cdn_rate(None)
        await asyncio.sleep(phase_s)
    finally:
        os.kill(surroundings.broker, signal.SIGCONT)


async def _until_done(
    watch: Watch,
    events: int,
    worker: subprocess.Popen[bytes],
    counting: asyncio.Task[None],
    stalled_after_s: float = STALLED_AFTER_S,
) -> None:
    """Wait until so many events are done, or none was for a while."""
    done, progress_at = len(watch.done), time.monotonic()
    while len(watch.done) < events and time.monotonic() - progress_at < stalled_after_s:
        if counting.done():
            await counting
        if worker.poll() is not None:
            raise SystemExit(f"The worker ended with {worker.returncode}.")
        if len(watch.done) > done:
            done, progress_at = len(watch.done), time.monotonic()
        await asyncio.sleep(SAMPLE_EVERY_S)


async def _count(reader: OutcomeReader, watch: Watch) -> None:
    while True:
        for outcome in await reader.read(0.2):
            watch.rows += 1
            watch.done.add(outcome.source)
            attributes = outcome.row.MODEL_ATTRIBUTES if outcome.row else None
            reason = attributes.PROVENANCE["reason"] if attributes else outcome.dead_letter
            if reason:
                watch.reasons[reason] += 1


async def _sample(pid: int, watch: Watch) -> None:
    while True:
        # Decoders come and go.
        with suppress(OSError):
            watch.resident.setdefault(watch.phase, []).append(own_and_descendants(pid))
        await asyncio.sleep(SAMPLE_EVERY_S)


def result_of(
    watch: Watch, settings: Settings, events: int, sizes: dict[str, int], seconds: float
) -> dict[str, Any]:
    """The figures of a run."""
    idle = sum(watch.resident["idle"][-1])
    peaks = {phase: watch.peak_mb(phase) for phase in watch.resident}
    samples = [sample for phase in watch.resident.values() for sample in phase]
    bound_mb = (idle + bound_bytes(settings, settings.decode_memory_mb * 2**20)) // MB
    decoder_bytes = DECODE_BYTES_PER_PIXEL * PNG_SIDE_PX**2
    return {
        "benchmark": "memory",
        "events": events,
        "events_done": len(watch.done),
        "repeats": watch.rows - len(watch.done),
        "without_verdict": dict(watch.reasons),
        "seconds": round(seconds),
        "picture_bytes": sizes,
        "idle_mb": idle // MB,
        "peak_mb": max(peaks.values()),
        "peak_worker_mb": max(worker for worker, _ in samples) // MB,
        "peak_decoders_mb": max(decoders for _, decoders in samples) // MB,
        "peak_mb_by_phase": peaks,
        "bound_mb": bound_mb,
        # The same with what a decoder needs for these pictures in place of DECODE_MEMORY_MB.
        "bound_for_these_pictures_mb": (idle + bound_bytes(settings, decoder_bytes)) // MB,
        "is_within_bound": max(peaks.values()) <= bound_mb,
    }


def run(arguments: argparse.Namespace, base_url: str, folder: Path, sizes: dict[str, int]) -> dict[str, Any]:
    """One run beside a CDN that is there already."""
    with running_broker(arguments.broker, folder / "kafka") as (broker, pid):
        environment = variables(broker) | model_variables("nudenet", folder)
        environment |= {
            "STREAMAPP_ALLOW_PRIVATE_HOSTS": "127.0.0.1",
            "STREAMAPP_DOWNLOADS_PER_HOST": "64",
            "STREAMAPP_MAX_DOWNLOAD_BYTES": str(MAX_DOWNLOAD_BYTES),
            "STREAMAPP_DECODE_MEMORY_MB": "512",
            "STREAMAPP_SESSION_TIMEOUT_S": "60",
        }
        watch, surroundings = Watch(), Surroundings(base_url, pid)
        started_s = time.monotonic()
        asyncio.run(measure(environment, surroundings, arguments, watch))
        seconds = time.monotonic() - started_s
    result = result_of(watch, load_settings(environment), arguments.events, sizes, seconds)
    return result | {"broker": type(broker).__name__}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=10_000)
    parser.add_argument("--cycles", type=int, default=3, help="times that CDN and broker are slow")
    parser.add_argument("--phase-s", type=float, default=12.0, help="twice that is below the producer's 30 s")
    parser.add_argument("--broker", choices=["auto", "kafka", "embedded"], default="auto")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as pictures, tempfile.TemporaryDirectory() as folder:
        sizes = make_pictures(Path(pictures))
        with server_process("serve_slowly.py", pictures, "0") as base_url:
            result = run(arguments, base_url, Path(folder), sizes)
    print(json.dumps(result | machine_facts("faust-streaming", "aiohttp", "pillow")))
    return int(not result["is_within_bound"] or result["events_done"] < arguments.events)


if __name__ == "__main__":
    sys.exit(main())
