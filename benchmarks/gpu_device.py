"""What benchmarks/gpu.py says of a device: its kind, its memory, and whether sizes in turns cost it time."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from statistics import median
from typing import Any

import onnxruntime
import torch
from machine import machine_facts

from streamapp.models.base import AnyNetwork

# Those of them that are installed. Both onnxruntimes at once would be a fault: they write the same files.
PACKAGES = (
    *("torch", "open_clip_torch", "onnxruntime", "onnxruntime-gpu", "nvidia-cudnn-cu13", "numpy"),
    *("opencv-python-headless", "opencv-python"),
)


def device_facts(device: str) -> dict[str, Any]:
    """The machine, the packages, and the GPU."""
    facts = machine_facts(*_installed(PACKAGES))
    facts |= {"device": device, "providers": onnxruntime.get_available_providers()}
    if device != "cpu":
        capability = ".".join(map(str, torch.cuda.get_device_capability(device)))
        facts |= {
            "gpu": torch.cuda.get_device_name(device),
            "capability": capability,
            "cuda": torch.version.cuda,
        }
    return facts


def _installed(packages: Sequence[str]) -> Iterator[str]:
    for package in packages:
        with suppress(PackageNotFoundError):
            version(package)
            yield package


def reset_peak(device: str) -> None:
    """Begin the peak of `memory` anew."""
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats(device)


def memory(device: str) -> dict[str, int]:
    """MB in use on the whole GPU, and the most that torch has used of it; nothing for a CPU."""
    if device == "cpu":
        return {}
    free, total = torch.cuda.mem_get_info(device)
    return {
        "device_mb": round((total - free) / 2**20),
        "torch_peak_mb": round(torch.cuda.max_memory_allocated(device) / 2**20),
    }


def turns(network: AnyNetwork, prepared: Sequence[Any], seconds: float) -> dict[str, float]:
    """Seconds of a batch of one and of a whole one: each repeated by itself, and in turns.

    In turns is slower where the device makes its plans anew for each change of size.
    """
    one, whole = prepared[:1], list(prepared)
    apart_s = sum(_median_s(lambda b=batch: network.infer(b), seconds) for batch in (one, whole))
    in_turns_s = _median_s(lambda: (network.infer(one), network.infer(whole)), seconds)
    return {"batch": len(whole), "apart_s": round(apart_s, 5), "in_turns_s": round(in_turns_s, 5)}


def _median_s(work: Callable[[], object], seconds: float) -> float:
    """Of rounds for so many seconds, the first of which is not counted."""
    work()
    durations: list[float] = []
    while sum(durations) < seconds:
        started_at = time.perf_counter()
        work()
        durations.append(time.perf_counter() - started_at)
    return median(durations)
