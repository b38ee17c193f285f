"""Pictures/s of the guarded downloader by the number in flight, from a server that answers after 50 ms.

Real aiohttp server in a process of its own on the same cores, real files of about 150 kB; nothing is
decoded. Beside it plain aiohttp without guard, slots and retries, in the same run. Loop lag is how much later
than asked a 10 ms sleep ends: the event loop must never be blocked. Prints one JSON line.

    python benchmarks/download.py [--pictures 2000] [--in-flight 1,10,100,1000]
"""

import argparse
import asyncio
import json
import resource
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import uvloop
from end_to_end import make_pictures, server_process
from machine import machine_facts

from streamapp.app import keep_what_is_loaded
from streamapp.fetch.downloader import Downloader
from streamapp.settings import load_settings

DELAY_S = 0.05
LAG_EVERY_S = 0.01
# One after the other they would take minutes: this many seconds' worth is enough.
LONGEST_S = 20

Fetch = Callable[[str], Awaitable[int]]


async def measure(fetch: Fetch, urls: list[str], in_flight: int) -> dict[str, Any]:
    """Fetch all URLs with so many at once."""
    places = asyncio.Semaphore(in_flight)
    lags: list[float] = []

    async def one(url: str) -> int:
        async with places:
            return await fetch(url)

    await asyncio.gather(*map(one, urls[:in_flight]))  # opens the connections
    watching = asyncio.create_task(_watch_lag(lags))
    started_s, cpu_s = time.perf_counter(), time.process_time()
    sizes = await asyncio.gather(*map(one, urls))
    wall_s, cpu_s = time.perf_counter() - started_s, time.process_time() - cpu_s
    watching.cancel()
    return {
        "pictures_per_s": round(len(urls) / wall_s, 1),
        "mb_per_s": round(sum(sizes) / wall_s / 1e6, 1),
        "cpu_ms_per_picture": round(cpu_s / len(urls) * 1000, 3),
        "loop_lag_p99_ms": round(float(np.percentile(lags, 99)) * 1000, 1),
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


async def _watch_lag(lags: list[float]) -> None:
    while True:
        before = time.perf_counter()
        await asyncio.sleep(LAG_EVERY_S)
        lags.append(time.perf_counter() - before - LAG_EVERY_S)


def limits_of(in_flight: int) -> dict[str, str]:
    """Settings that let so many downloads run, from one host too."""
    return {
        "STREAMAPP_DOWNLOADS_IN_FLIGHT": str(in_flight),
        "STREAMAPP_DOWNLOADS_PER_HOST": str(in_flight),
        "STREAMAPP_PATIENT_HOSTS": "127.0.0.1",
    }


async def guarded(urls: list[str], in_flight: int, limits: dict[str, str]) -> dict[str, Any]:
    settings = load_settings({"STREAMAPP_ALLOW_PRIVATE_HOSTS": "127.0.0.1"} | limits)
    async with Downloader(settings) as downloader:

        async def fetch(url: str) -> int:
            return len((await downloader.fetch(url)).content)

        return await measure(fetch, urls, in_flight)


async def plain(urls: list[str], in_flight: int) -> dict[str, Any]:
    connector = aiohttp.TCPConnector(limit=in_flight)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def fetch(url: str) -> int:
            async with session.get(url) as response:
                return len(await response.read())

        return await measure(fetch, urls, in_flight)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--in-flight", default="1,10,100,1000")
    arguments = parser.parse_args()
    # As the worker does; for the plain client too.
    keep_what_is_loaded()
    result: dict[str, Any] = {"benchmark": "download", "delay_ms": DELAY_S * 1000, "guarded": {}, "plain": {}}
    with tempfile.TemporaryDirectory() as folder:
        make_pictures(Path(folder))
        names = sorted(path.name for path in Path(folder).iterdir())
        with server_process("serve_slowly.py", folder, str(DELAY_S)) as base_url:
            urls = [base_url + names[number % len(names)] for number in range(arguments.pictures)]
            for in_flight in map(int, arguments.in_flight.split(",")):
                some = urls[: int(min(len(urls), LONGEST_S / DELAY_S * in_flight))]
                result["guarded"][in_flight] = uvloop.run(guarded(some, in_flight, limits_of(in_flight)))
                result["plain"][in_flight] = uvloop.run(plain(some, in_flight))
            # What a worker does: a thousand events wait, and the settings say how many download.
            result["1000_with_default_limits"] = uvloop.run(guarded(urls, 1000, {}))
    print(json.dumps(result | machine_facts("aiohttp", "uvloop")))


if __name__ == "__main__":
    main()
