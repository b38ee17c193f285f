"""How fast the whole inference stage is: an Ensemble with its batchers and threads, as in the worker."""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from streamapp.media import Frame
from streamapp.models.base import AnyNetwork
from streamapp.models.ensemble import Ensemble, PreparedFrames
from streamapp.models.runner import ModelRunner

Make = Callable[[], AnyNetwork]

BATCHES_IN_FLIGHT = 4  # two lanes have a batch each, and find the next one full
MAX_WAIT_S, TIMEOUT_S = 0.005, 60.0


async def stage_rates(
    makes: Sequence[Make], frames: Sequence[Frame], size: int, threads: int, seconds: float
) -> dict[str, float]:
    """Pictures of one frame per second, frames prepared before (`look_per_s`) and not.

    Args:
        makes: of the networks, whose largest batch size is `size`.
        threads: that prepare and finish.
        seconds: for each rate.
    """
    loop = asyncio.get_running_loop()
    in_flight = BATCHES_IN_FLIGHT * size
    limits = {"max_queued": in_flight, "max_wait_s": MAX_WAIT_S, "timeout_s": TIMEOUT_S}
    with ThreadPoolExecutor(threads) as cpu:
        async with Ensemble([ModelRunner(make, cpu, instances=1, **limits) for make in makes]) as ensemble:
            ready = [ensemble.prepare([frame]) for frame in frames]

            async def look(prepared: PreparedFrames) -> None:
                reasons = {report.name: report.reason for report in await ensemble.look(prepared)}
                if any(reasons.values()):
                    raise RuntimeError(f"The stage failed on a picture: {reasons}")

            async def prepare_and_look(index: int) -> None:
                frame = frames[index % len(frames)]
                await look(await loop.run_in_executor(cpu, ensemble.prepare, [frame]))

            return {
                "look_per_s": await _throughput(lambda i: look(ready[i % len(ready)]), in_flight, seconds),
                "prepare_and_look_per_s": await _throughput(prepare_and_look, in_flight, seconds),
            }


async def _throughput(work: Callable[[int], Awaitable[None]], in_flight: int, seconds: float) -> float:
    """Jobs per second of so many workers, each of which begins its next when its last is done."""
    await _round(work, in_flight, 0.0)
    return round(await _round(work, in_flight, seconds), 1)


async def _round(work: Callable[[int], Awaitable[None]], in_flight: int, seconds: float) -> float:
    started_at, indices = time.perf_counter(), iter(range(sys.maxsize))
    workers = [_worker(work, indices, started_at + seconds) for _ in range(in_flight)]
    return sum(await asyncio.gather(*workers)) / (time.perf_counter() - started_at)


async def _worker(work: Callable[[int], Awaitable[None]], indices: Iterator[int], until: float) -> int:
    """Jobs done, at least one."""
    done = 0
    while not done or time.perf_counter() < until:
        await work(next(indices))
        done += 1
    return done
