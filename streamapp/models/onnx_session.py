"""onnxruntime sessions, opened the same way for every model that runs on it."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from streamapp.errors import SettingsError, WeightsError
from streamapp.models.cuda_driver import device_count

# On Linux onnxruntime reports to its maker, from 1.29 on, unless it is told not to before it is imported: a
# worker sees people's pictures, and reports to nobody.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime as ort

logger = logging.getLogger(__name__)

CUDA = "CUDAExecutionProvider"


class BatchSessions:
    """A network that runs in batches of a few sizes: one session for all of them, on CUDA one for each.

    On CUDA onnxruntime's convolutions keep the plan for their last shape alone. Where sizes take turns in one
    session, each turn makes all plans anew, which took YOLO 100 ms (microsoft/onnxruntime, issue 23006).

    Attributes:
        first: one of the sessions, to ask for inputs and outputs.

    Args:
        network, what, threads, device: as in `open_session`.
        batch_sizes: ascending; another size runs too, where the largest does.

    Raises:
        SettingsError, WeightsError: as `open_session`.
    """

    def __init__(
        self, network: Path | bytes, *, what: str, threads: int, device: str, batch_sizes: Sequence[int]
    ) -> None:
        sizes = batch_sizes[-1:] if device == "cpu" else batch_sizes
        self._by_size = {
            size: open_session(network, what=what, threads=threads, device=device) for size in sizes
        }
        self.first = self._by_size[sizes[-1]]

    def run(self, batch: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
        """Run the network on its one input; every output's first axis is the batch."""
        session = self._by_size.get(len(batch), self.first)
        outputs: list[npt.NDArray[np.float32]] = session.run(None, {session.get_inputs()[0].name: batch})
        return outputs


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
        _, failure, of_cuda = str(exc).partition("CUDA failure")
        if failure:
            # Behind it come the host's name and lines of onnxruntime's sources.
            raise SettingsError(
                f"The device {device} can't be had: {failure}{of_cuda.partition(' ; ')[0]}."
            ) from exc
        where = "" if isinstance(network, bytes) else f" at {network}"
        raise WeightsError(f"{what}{where} can't be loaded: {exc}") from exc
    if session.get_providers()[0] != provider:
        raise SettingsError(f"onnxruntime could not start on {device}; its own log says why.")
    return session


def chosen_device(setting: str) -> str:
    """The device that a setting means, ``cpu`` or ``cuda:<index>`` as PROVENANCE has it.

    ``auto`` is CUDA where this onnxruntime and the machine have it, else the CPU.
    """
    if setting == "auto":
        # onnxruntime lists what it was built with, whether there is a device or not.
        is_built_in = CUDA in ort.get_available_providers()
        setting = "cuda" if is_built_in and _is_device_there() else "cpu"
    return "cuda:0" if setting == "cuda" else setting


def _is_device_there() -> bool:
    """Whether there is a CUDA device. Asked where onnxruntime is for CUDA: without one it warns.

    It warns each time, for the first is before the logs are set up.
    """
    if device_count() > 0:
        return True
    logger.warning("This onnxruntime is built for CUDA, but there is no CUDA device: it runs on the CPU.")
    return False


def _provider(device: str) -> tuple[str, dict[str, str]]:
    """onnxruntime's name of a device's kind, and the options that say which one."""
    if device == "cpu":
        return "CPUExecutionProvider", {}
    kind, _, index = device.partition(":")
    if kind != "cuda" or not (index or "0").isdecimal():
        raise SettingsError(f"There is no device {device!r}: give cpu, cuda or cuda:<index>.")
    if CUDA not in ort.get_available_providers():
        raise SettingsError(f"The device {device} needs onnxruntime-gpu; this onnxruntime has no CUDA in it.")
    # Without it, CUDA and cuDNN out of their wheels are found only where torch was imported before.
    ort.preload_dlls()
    return CUDA, {
        "device_id": index or "0",
        # The default searches longest: six convolutions on a Turing GPU took 0.6 s for each shape, and 2 ms
        # with this one, no slower then (PaddlePaddle/PaddleX, pull request 5057). Its workspaces take GBs.
        "cudnn_conv_algo_search": "HEURISTIC",
        # By default the arena doubles where it grows, but CLIP and the other sessions need the device too.
        "arena_extend_strategy": "kSameAsRequested",
    }
