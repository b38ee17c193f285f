"""onnxruntime sessions, opened the same way for every model that runs on it."""

import os
from pathlib import Path
from typing import Any

from streamapp.errors import SettingsError, WeightsError

# On Linux onnxruntime reports to its maker, from 1.29 on, unless it is told not to before it is imported: a
# worker sees people's pictures, and reports to nobody.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime as ort


def open_session(network: Path | bytes, *, what: str, threads: int, device: str) -> Any:
    """Open a network on exactly the device that is asked for.

    Args:
        network: the ONNX file, or its content.
        what: the file in words, ``NudeNet's weights``.
        threads: CPU threads of one run.
        device: ``cpu``, ``cuda`` or ``cuda:<index>``; onnxruntime by itself would fall back to the CPU,
            where it can't be had and after a run that failed.

    Raises:
        SettingsError: the device can't be had.
        WeightsError: the file is no network that onnxruntime can run.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Idle onnxruntime threads spin by default, on the cores that decode and prepare the next batch.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    provider, provider_options = _provider(device)
    source = network if isinstance(network, bytes) else str(network)
    try:
        session = ort.InferenceSession(
            source, options, providers=[(provider, provider_options)], enable_fallback=False
        )
    except Exception as exc:  # onnxruntime's errors share no base of their own
        where = "" if isinstance(network, bytes) else f" at {network}"
        raise WeightsError(f"{what}{where} can't be loaded: {exc}") from exc
    if session.get_providers()[0] != provider:
        raise SettingsError(f"onnxruntime could not start on {device}; its own log says why.")
    return session


def chosen_device(setting: str) -> str:
    """The device that a setting means, ``cpu`` or ``cuda:<index>`` as PROVENANCE has it.

    ``auto`` is CUDA where this onnxruntime has it, else the CPU.
    """
    if setting == "auto":
        setting = "cuda" if "CUDAExecutionProvider" in ort.get_available_providers() else "cpu"
    return "cuda:0" if setting == "cuda" else setting


def _provider(device: str) -> tuple[str, dict[str, str]]:
    """onnxruntime's name of a device's kind, and the options that say which one."""
    if device == "cpu":
        return "CPUExecutionProvider", {}
    kind, _, index = device.partition(":")
    if kind != "cuda" or not (index or "0").isdecimal():
        raise SettingsError(f"There is no device {device!r}: give cpu, cuda or cuda:<index>.")
    if "CUDAExecutionProvider" not in ort.get_available_providers():
        raise SettingsError(f"The device {device} needs onnxruntime-gpu; this onnxruntime has no CUDA in it.")
    # Without it, CUDA and cuDNN out of their wheels are found only where torch was imported before.
    ort.preload_dlls()
    return "CUDAExecutionProvider", {"device_id": index or "0"}
