"""Measure what decoding in processes of their own costs, against decoding in threads; print one JSON line.

    python benchmarks/decode_isolation.py [seconds per measurement]

The same real picture, which scikit-image carries (the dev extra), in each format and at three sizes. Rates
are of two decode threads with a decoder each; latencies are of one picture at a time; CPU time is of the
worker and its decoders together. Both ways are measured in turns; every figure is the median of its turns.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from io import BytesIO
from pathlib import Path
from statistics import median

import skimage.data
from machine import machine_facts
from PIL import Image

from streamapp.media import Picture
from streamapp.media.decode import decode
from streamapp.media.limits import Limits
from streamapp.media.sandbox.pool import DecoderPool

FORMATS = ("JPEG", "PNG", "WEBP")
SIDES_PX = (320, 1080, 4000)
THREADS = 2
LIMITS = Limits()
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")

Decode = Callable[[bytes], Picture]


def main(seconds: float) -> None:
    result = {
        "benchmark": "decode_isolation",
        "decode_threads": THREADS,
        **machine_facts("pillow", "numpy", "msgspec"),
    }
    photo = Image.fromarray(skimage.data.astronaut())
    pool = DecoderPool(LIMITS, decoders=THREADS, timeout_s=60, memory_mb=2048)
    started_at = time.perf_counter()
    with pool, ThreadPoolExecutor(THREADS) as threads:
        pool.wait_until_ready()
        result["start_s"] = round(time.perf_counter() - started_at, 3)
        ways: dict[str, Decode] = {"thread": partial(decode, limits=LIMITS), "process": pool.decode}
        for pillow_format in FORMATS:
            for side_px in SIDES_PX:
                content = _encoded(photo, pillow_format, side_px)
                turns = {way: _Turns(way_decode, content, pool, threads) for way, way_decode in ways.items()}
                end = time.perf_counter() + seconds
                while time.perf_counter() < end:
                    for turn in turns.values():
                        turn.take()
                result[f"{pillow_format.lower()}_{side_px}_px"] = _compared(content, turns)
        result["decoder_resident_mb"] = [_resident_mb(pid) for pid in sorted(pool.pids)]
    print(json.dumps(result))


class _Turns:
    """The turns of one way of decoding one file."""

    def __init__(self, decode_one: Decode, content: bytes, pool: DecoderPool, threads: ThreadPoolExecutor):
        self._decode, self._content, self._pool, self._threads = decode_one, content, pool, threads
        self._latencies_s: list[float] = []
        self._rates: list[float] = []
        self._cpu_s: list[float] = []
        started_at = time.perf_counter()
        decode_one(content)
        # Turns of about a quarter of a second, so that a tick of the CPU clock is small.
        self._pictures = THREADS * max(1, round(0.25 / (time.perf_counter() - started_at)))

    def take(self) -> None:
        """One picture alone, then many from all threads."""
        started_at = time.perf_counter()
        self._decode(self._content)
        self._latencies_s.append(time.perf_counter() - started_at)
        started_at, cpu_before_s = time.perf_counter(), _cpu_s(self._pool)
        for _ in self._threads.map(self._decode, [self._content] * self._pictures):
            pass
        self._rates.append(self._pictures / (time.perf_counter() - started_at))
        self._cpu_s.append((_cpu_s(self._pool) - cpu_before_s) / self._pictures)

    def figures(self) -> dict[str, float]:
        return {
            "pictures_per_s": round(median(self._rates), 1),
            "latency_ms": round(median(self._latencies_s) * 1000, 2),
            "cpu_ms": round(median(self._cpu_s) * 1000, 2),
        }


def _compared(content: bytes, turns: dict[str, _Turns]) -> dict[str, object]:
    thread, process = (turns[way].figures() for way in ("thread", "process"))
    return {
        "file_kb": round(len(content) / 1000),
        "thread": thread,
        "process": process,
        "cost_latency_ms": round(process["latency_ms"] - thread["latency_ms"], 2),
        "cost_cpu_ms": round(process["cpu_ms"] - thread["cpu_ms"], 2),
    }


def _encoded(photo: Image.Image, pillow_format: str, side_px: int) -> bytes:
    buffer = BytesIO()
    photo.resize((side_px, side_px), Image.Resampling.BICUBIC).save(buffer, pillow_format, quality=85)
    return buffer.getvalue()


def _cpu_s(pool: DecoderPool) -> float:
    """CPU time of this process and of the decoders, which are not yet waited for as its children."""
    ticks = 0
    for pid in pool.pids:
        # After the name, in parentheses, the 12th and 13th fields: user and system time.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return time.process_time() + ticks * _TICK_S


def _resident_mb(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6)


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 4.0)
