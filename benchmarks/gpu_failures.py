"""What becomes of pictures where a GPU has no room for them, and where it is lost: a JSON line for each.

    python benchmarks/gpu_failures.py DEVICE MODEL WEIGHTS

benchmarks/gpu.py runs it in a process of its own, for the second leaves the GPU of no use to its process.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import torch
from models import _pictures

from streamapp.media import Frame
from streamapp.models.clip_setup import embedder_specs
from streamapp.models.runner import ModelRunner
from streamapp.models.torch_device import free_cached_memory, require_device
from streamapp.policy import load_policy
from streamapp.settings import Settings

PICTURES = 64
ROOM_BYTES = 96 * 2**20  # of ViT-B-16 in fp32 a batch of 8 fits in there, one of 64 does not
TIMEOUT_S = 60.0
PROCESS_TIMEOUT_S = 120.0


def failures(device: str, model: str, weights: Path) -> list[dict[str, Any]]:
    """Run this file as a process for its lines; where one is missing, another says so and does not hold."""
    command = [sys.executable, __file__, device, model, str(weights)]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=PROCESS_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return [{"kind": "lost", "why": f"gpu_failures.py took {PROCESS_TIMEOUT_S} s", "holds": False}]
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if len(lines) < 2:
        lines.append({"kind": "lost", "why": f"gpu_failures.py ended with {done.returncode}", "holds": False})
    return lines


async def no_room(
    runner: ModelRunner, frames: Sequence[Frame], leave_little: Callable[[], None]
) -> dict[str, Any]:
    """A batch that has no room is done in parts, and every picture has its answer."""
    prepared = [runner.prepare(frame) for frame in frames]
    leave_little()
    results = await asyncio.gather(*map(runner.look, prepared))
    answered = sum(result.error is None for result in results)
    failed = runner.lanes.failed_batches
    return {"answered": answered, "failed_batches": failed, "holds": answered == len(frames) and failed > 0}


async def lost(runner: ModelRunner, frames: Sequence[Frame], lose: Callable[[], None]) -> dict[str, Any]:
    """A lost device ends the worker, and no picture fails for it."""
    prepared = [runner.prepare(frame) for frame in frames]
    lose()
    results = await asyncio.gather(*map(runner.look, prepared), return_exceptions=True)
    outcomes = Counter(type(result).__name__ for result in results)
    return {"outcomes": dict(outcomes), "holds": set(outcomes) == {"DeviceLostError"}}


def _leave_little(device: torch.device) -> None:
    free_cached_memory(device)
    total = torch.cuda.get_device_properties(device).total_memory
    share = (torch.cuda.memory_reserved(device) + ROOM_BYTES) / total
    torch.cuda.set_per_process_memory_fraction(share, device)


def _lose(device: torch.device) -> None:
    """An index out of bounds is an assertion on the device, after which its context answers nothing more."""
    torch.cuda.set_per_process_memory_fraction(1.0, device)
    with suppress(RuntimeError):
        torch.zeros(1, device=device)[torch.tensor([9], device=device)].cpu()


async def _run(settings: Settings) -> bool:
    device = require_device(str(settings.clip_device))
    frames = list(islice(cycle(_pictures()), PICTURES))
    (spec,) = embedder_specs(settings, load_policy().taxonomy).values()
    has_held = True
    with ThreadPoolExecutor(2) as cpu:
        limits = {"max_queued": PICTURES, "max_wait_s": 0.1, "timeout_s": TIMEOUT_S}
        async with ModelRunner(spec.make, cpu, instances=1, **limits) as runner:
            for kind, check, fault in (("no_room", no_room, _leave_little), ("lost", lost, _lose)):
                line = await check(runner, frames, lambda fault=fault: fault(device))
                print(json.dumps({"kind": kind, **line}), flush=True)
                has_held &= line["holds"]
    return has_held


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Take a GPU's memory, then the GPU, and see what becomes of pictures."
    )
    parser.add_argument("device", help="cuda or cuda:<index>")
    parser.add_argument(
        "model", help="open_clip's name of a network: ViT-B-16, for which the room is measured"
    )
    parser.add_argument("weights", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(
            models="clip,coop",
            clip_model=options.model,
            coop_model=options.model,
            clip_weights=options.weights,
            clip_precision="fp32",
            clip_device=options.device,
            model_cache=Path(folder),
        )
        return 0 if asyncio.run(_run(settings)) else 1


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    # Not in order: CUDA's libraries would end a context that is gone, and fail on it.
    os._exit(code)
