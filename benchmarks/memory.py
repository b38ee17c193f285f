"""Resident memory of a worker with 10,000 events of 8 MB pictures before it: CDN slow, then broker away.

Real broker (the embedded one), real HTTP server in a process of its own that gives each connection 2 MB/s,
real Faust worker, NudeNet. Three phases of equal length: the CDN is slow; the broker stands still as well
(SIGSTOP), so that no row gets out and pictures pile up; both go on. Memory is that of the worker and its
decoders together (/proc, Linux only), sampled four times a second. The bound is the README's formula. Prints
one JSON line; ends with 1 where the bound was passed.

    python benchmarks/memory.py [--events 10000] [--phase-s 25]
"""

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from end_to_end import model_variables, send, server_process, worker_process
from machine import machine_facts
from PIL import Image
from stream import variables

from streamapp.local.broker import EmbeddedBroker
from streamapp.local.outcomes import OutcomeReader
from streamapp.settings import Settings, load_settings
from streamapp.topics import ensure_topics

PICTURE_SIDE_PX = 1633
CDN_BYTES_PER_S = 2_000_000
# A little above the file: the formula then says what these pictures may take.
MAX_DOWNLOAD_BYTES = 8_400_000
PREPARED_FRAME_BYTES = 1_500_000
DECODE_BYTES_PER_PIXEL = 14
SAMPLE_EVERY_S = 0.25
WARM_UP_TIMEOUT_S = 60.0
MB = 1_000_000


@dataclass(slots=True)
class Watch:
    """What is sampled; bytes."""

    resident: dict[str, list[int]] = field(default_factory=dict)
    phase: str = "idle"
    rows: int = 0

    def peak_mb(self, phase: str) -> int:
        return max(self.resident[phase]) // MB


def make_picture(folder: Path) -> int:
    """One PNG that can't be compressed; its bytes."""
    pixels = np.random.default_rng(0).integers(0, 256, (PICTURE_SIDE_PX, PICTURE_SIDE_PX, 3), np.uint8)
    file = folder / "large.png"
    Image.fromarray(pixels).save(file, compress_level=0)
    return file.stat().st_size


def bound_bytes(settings: Settings) -> int:
    """What the settings allow beside an idle worker, for pictures of one frame (README, "Memory")."""
    downloading = settings.downloads_in_flight * settings.max_download_bytes
    waiting = settings.pictures_in_flight * (settings.max_download_bytes + PREPARED_FRAME_BYTES)
    decoding = settings.decode_threads * DECODE_BYTES_PER_PIXEL * PICTURE_SIDE_PX**2
    return downloading + waiting + decoding


async def measure(
    environment: dict[str, str], url: str, events: int, phase_s: float, broker_pid: Callable[[], int]
) -> Watch:
    settings = load_settings(environment)
    await ensure_topics(settings)
    watch = Watch()
    async with OutcomeReader(settings) as reader:
        with worker_process(environment) as worker:
            sampling = asyncio.create_task(_sample(worker.pid, watch))
            await _warm_up(settings, reader, url)
            await asyncio.sleep(2.0)
            await send(settings, [url] * events)
            counting = asyncio.create_task(_count(reader, watch))
            try:
                await _phases(watch, phase_s, broker_pid())
            finally:
                for task in (sampling, counting):
                    task.cancel()
                await asyncio.wait([sampling, counting])
    return watch


async def _phases(watch: Watch, phase_s: float, broker: int) -> None:
    watch.phase = "slow_cdn"
    await asyncio.sleep(phase_s)
    watch.phase = "broker_away"
    os.kill(broker, signal.SIGSTOP)
    try:
        await asyncio.sleep(phase_s)
    finally:
        os.kill(broker, signal.SIGCONT)
    watch.phase = "afterwards"
    await asyncio.sleep(phase_s)


async def _warm_up(settings: Settings, reader: OutcomeReader, url: str) -> None:
    """Wait for one row, so that the models' and decoders' own memory is in the idle figure."""
    await send(settings, [url])
    async with asyncio.timeout(WARM_UP_TIMEOUT_S):
        while not await reader.read(0.2):
            continue


async def _count(reader: OutcomeReader, watch: Watch) -> None:
    while True:
        watch.rows += len(await reader.read(0.2))


async def _sample(pid: int, watch: Watch) -> None:
    while True:
        with suppress(OSError):
            watch.resident.setdefault(watch.phase, []).append(_resident(pid))
        await asyncio.sleep(SAMPLE_EVERY_S)


def _resident(pid: int) -> int:
    """Of a process and its descendants."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") + sum(map(_resident, children(pid)))


def children(pid: int) -> list[int]:
    """Those of all its threads."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def _broker_pid(before: set[int]) -> int:
    """The broker itself: the child of the supervisor, which is the only child of ours that is new."""
    (supervisor,) = set(children(os.getpid())) - before
    (broker,) = children(supervisor)
    return broker


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=10_000)
    parser.add_argument("--phase-s", type=float, default=25.0, help="below the producer's 30 s")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as weights:
        size = make_picture(Path(folder))
        with server_process("serve_slowly.py", folder, "0", str(CDN_BYTES_PER_S)) as base_url:
            before = set(children(os.getpid()))
            with EmbeddedBroker() as broker:
                pid = _broker_pid(before)
                environment = variables(broker) | model_variables("nudenet", Path(weights))
                environment |= {
                    "STREAMAPP_ALLOW_PRIVATE_HOSTS": "127.0.0.1",
                    "STREAMAPP_DOWNLOADS_PER_HOST": "64",
                    "STREAMAPP_MAX_DOWNLOAD_BYTES": str(MAX_DOWNLOAD_BYTES),
                    "STREAMAPP_SESSION_TIMEOUT_S": "60",
                }
                url = base_url + "large.png"
                watch = asyncio.run(
                    measure(environment, url, arguments.events, arguments.phase_s, lambda: pid)
                )
    settings = load_settings(environment)
    idle = watch.resident["idle"][-1]
    bound_mb = (idle + bound_bytes(settings)) // MB
    peaks: dict[str, Any] = {phase: watch.peak_mb(phase) for phase in watch.resident}
    result = {
        "benchmark": "memory",
        "events": arguments.events,
        "picture_bytes": size,
        "rows": watch.rows,
        "idle_mb": idle // MB,
        "peak_mb": peaks,
        "bound_mb": bound_mb,
        "is_within_bound": max(peaks.values()) <= bound_mb,
    }
    print(json.dumps(result | machine_facts("faust-streaming", "aiohttp", "pillow")))
    return int(not result["is_within_bound"])


if __name__ == "__main__":
    sys.exit(main())
