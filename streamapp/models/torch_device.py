"""What torch runs on: the device, its threads and memory, and the precision of the weights."""

import threading
from typing import Literal

import torch

from streamapp.errors import SettingsError

Precision = Literal["fp32", "bf16", "fp16"]
DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

_thread = threading.local()


def use_threads(count: int) -> None:
    """Let torch use so many cores for what this thread asks of it, now and later; other threads keep theirs.

    `torch.set_num_threads` looks process-wide and is not: OpenMP keeps the number for each calling thread.
    But a thread takes over the process's last number when it first asks for it, which must come before.
    """
    if getattr(_thread, "count", None) != count:
        torch.get_num_threads()
        torch.set_num_threads(count)
        _thread.count = count


def require_device(name: str) -> torch.device:
    """The device of that name, if it is there; never another one.

    Args:
        name: ``cpu``, ``cuda`` or ``cuda:<index>``.

    Raises:
        SettingsError: there is no such device.
    """
    kind, _, index = name.partition(":")
    if name == "cpu":
        return torch.device("cpu")
    if kind != "cuda" or not (index or "0").isdecimal():
        raise SettingsError(f"There is no device {name!r}: give cpu, cuda or cuda:<index>.")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(index or 0) >= count:
        raise SettingsError(
            f"The device {name} can't be had: torch {torch.__version__} sees {count} CUDA devices."
        )
    return torch.device("cuda", int(index or 0))


def limit_memory(device: torch.device, share: float) -> None:
    """Let this process allocate at most a share of a GPU's memory; 0 and the CPU: no limit.

    Args:
        share: in [0, 1].
    """
    if device.type == "cuda" and share > 0:
        torch.cuda.set_per_process_memory_fraction(min(share, 1.0), device)


def free_cached_memory(device: torch.device) -> None:
    """Give a GPU's memory that torch keeps for later back, to onnxruntime on the same device."""
    if device.type == "cuda":
        torch.cuda.empty_cache()


def native_precisions(device: torch.device) -> tuple[Precision, ...]:
    """The precisions that may pay on a device, fp32 first: those that it computes in by itself.

    bf16 began with compute capability 8.0: on a T4 (7.5) torch emulates it, where it does at all.
    """
    if device.type != "cuda":
        return ("fp32", "bf16")
    return (
        ("fp32", "bf16", "fp16") if torch.cuda.get_device_capability(device) >= (8, 0) else ("fp32", "fp16")
    )
