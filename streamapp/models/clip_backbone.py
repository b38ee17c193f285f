"""A CLIP's image tower on its device: from squares of pixels to embeddings, in the precision that pays."""

import copy
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from streamapp.errors import WeightsError
from streamapp.media import Pixels
from streamapp.models.base import ModelInfo
from streamapp.models.clip_network import ClipNetwork, Vectors, load_network
from streamapp.models.clip_pixels import PixelTransform
from streamapp.models.clip_source import ClipSource
from streamapp.models.torch_device import (
    DTYPES,
    Precision,
    free_cached_memory,
    limit_memory,
    native_precisions,
    require_device,
    use_threads,
)
from streamapp.models.weights import WeightsFile

logger = logging.getLogger(__name__)

MIN_COSINE = 0.999  # of an embedding with the fp32 one, for a precision to be chosen by `auto`
_PROBES = 4  # pictures by which precisions are compared on a CPU
_GPU_PROBES = 32
_PROBE_RUNS = 3
_PROBE_S = 1.0  # after which no further run is begun
_MIN_GAIN = (
    1.1  # times faster than fp32, or than the next: less is noise, and would change from start to start
)


class ClipBackbone:
    """The image tower of one CLIP, shared by the heads that judge by its embeddings.

    Args:
        source: which CLIP.
        device: ``cpu``, ``cuda`` or ``cuda:<index>``; never replaced by another one.
        precision: of the weights and the arithmetic; ``auto`` takes the fastest that agrees with fp32.
        threads: CPU threads of one `embed`.
        memory_share: of the GPU that this process may allocate, in [0, 1]; 0: no limit.

    Raises:
        SettingsError: the device can't be had.
    """

    def __init__(
        self,
        source: ClipSource,
        *,
        device: str,
        precision: Precision | Literal["auto"],
        threads: int,
        memory_share: float = 0.0,
    ) -> None:
        self.source = source
        self._device = require_device(device)
        self._precision = precision
        self._threads = threads
        self._memory_share = memory_share
        self._weights: WeightsFile | None = None
        self._network: ClipNetwork | None = None
        self._transform: PixelTransform | None = None
        self._tower: _Tower | None = None
        self._lanes = threading.local()

    @property
    def info(self) -> ModelInfo:
        """What PROVENANCE says; the precision is ``auto`` until it is settled.

        Raises:
            WeightsError: as `check_weights`, where that has not been called before.
        """
        weights = self._weights or self.check_weights()
        return ModelInfo(self.source.title, weights.sha256, self._precision, str(self._device))

    @property
    def network(self) -> ClipNetwork:
        """The whole CLIP, between `load` and `settle`."""
        if self._network is None:
            raise RuntimeError(
                f"{self.source.title} is not loaded, or its text tower is gone. This is a bug."
            )
        return self._network

    @property
    def transform(self) -> PixelTransform:
        """What the image tower looks at."""
        if self._transform is None:
            raise RuntimeError(f"{self.source.title} is not loaded. This is a bug.")
        return self._transform

    def check_weights(self) -> WeightsFile:
        """Find the weights and check their digest.

        Raises:
            WeightsError: they are missing or other ones.
        """
        self._weights = self.source.locate()
        return self._weights

    def load(self) -> None:
        """Read the weights: fp32, on the CPU, both towers."""
        use_threads(self._threads)
        limit_memory(self._device, self._memory_share)
        self._network = load_network(self.source, self._weights or self.check_weights())
        self._transform = self._network.transform

    def settle(self) -> None:
        """Bring the image tower to the device, in the precision asked for, and let go of the text tower."""
        self._precision, self._tower = self._chosen(self.network.model.visual)
        self._network = None
        # Here, where nothing holds the towers that were only measured any more.
        free_cached_memory(self._device)

    def _chosen(self, exact: torch.nn.Module) -> tuple[Precision, "_Tower"]:
        if self._precision == "auto":
            return self._measured(exact)
        if self._device.type == "cuda" and self._precision not in native_precisions(self._device):
            logger.warning(
                "%s has no %s of its own: emulated, it is slower than fp32. Leave the precision to auto.",
                *(torch.cuda.get_device_name(self._device), self._precision),
            )
        return self._precision, _Tower(exact, self.transform, self._device, self._precision)

    def _measured(self, exact: torch.nn.Module) -> tuple[Precision, "_Tower"]:
        """The fastest precision on this device whose embeddings agree with those of fp32."""
        on_gpu = self._device.type == "cuda"
        probes = torch.from_numpy(_probes(_GPU_PROBES if on_gpu else _PROBES, self.transform.side_px))
        expected: Vectors | None = None
        best_s = 0.0
        best: tuple[Precision, _Tower] | None = None
        for precision in native_precisions(self._device):
            try:
                tower = _Tower(exact, self.transform, self._device, precision)
                embedded, seconds = _timed(tower, probes, self._device)
            except RuntimeError as exc:  # torch's, for whatever an operation or the device can't do
                if expected is None:
                    raise
                logger.warning(
                    "%s can't run in %s on %s: %s", *(self.source.title, precision, self._device, exc)
                )
                continue
            expected = embedded if expected is None else expected
            cosine = float((embedded * expected).sum(axis=1).min())
            logger.info(
                "%s in %s on %s: %.0f pictures/s, cosine with fp32 at least %.5f",
                *(self.source.title, precision, self._device, len(probes) / seconds, cosine),
            )
            if cosine >= MIN_COSINE and (best is None or seconds * _MIN_GAIN < best_s):
                best_s, best = seconds, (precision, tower)
        if best is None:
            raise WeightsError(f"{self.source.title} answers with numbers that are not finite in fp32.")
        return best

    def embed(self, squares: Sequence[Pixels]) -> Vectors:
        """Embed pictures; called by several threads at once, each of which waits for its own.

        Args:
            squares: ``(side, side, 3)`` uint8 each, as `transform` makes them.

        Returns:
            ``(N, D)`` float32 of unit length.
        """
        if self._tower is None:
            raise RuntimeError(f"{self.source.title} is not on its device. This is a bug.")
        # Each time: on a thread that prepares as well, `PixelTransform` has asked for another number.
        use_threads(self._threads)
        lane = getattr(self._lanes, "lane", None)
        if lane is None:
            lane = self._lanes.lane = _lane(self._device)
        with lane.running(squares) as pixels:
            embedded = self._tower(pixels)
            return lane.fetch(embedded)


class _Tower:
    """An image tower on a device, its weights converted.

    The rejected alternative is autocast, which converts anew in every run: on a CPU it is slower than fp32.
    """

    def __init__(
        self, exact: torch.nn.Module, transform: PixelTransform, device: torch.device, precision: Precision
    ) -> None:
        self._dtype = DTYPES[precision]
        tower: Any = exact if precision == "fp32" else copy.deepcopy(exact)
        self._tower = tower.to(device, self._dtype, memory_format=torch.channels_last)
        self._mean, self._std = (
            torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (transform.mean, transform.std)
        )

    @torch.inference_mode()
    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """Embed ``(N, side, side, 3)`` uint8 on the device as ``(N, D)`` float32 of unit length."""
        image = pixels.permute(0, 3, 1, 2).to(torch.float32)
        # As torchvision does it, operation by operation, so that the numbers are the same to the bit.
        image = image.div_(255).sub_(self._mean).div_(self._std)
        embedded = self._tower(image.to(self._dtype)).float()
        return torch.nn.functional.normalize(embedded, dim=-1)


class _CpuLane:
    """A thread's way through a CPU."""

    @contextmanager
    def running(self, squares: Sequence[Pixels]) -> Iterator[torch.Tensor]:
        """The pictures as one tensor."""
        yield torch.from_numpy(np.stack(squares))

    def fetch(self, embedded: torch.Tensor) -> Vectors:
        """The embeddings as an array."""
        result: Vectors = embedded.numpy()
        return result


class _CudaLane:
    """A thread's way through a GPU: a stream of its own, so that one batch is copied while another runs.

    The pinned buffer is written anew only after `fetch` has waited for the stream, or after a batch that
    failed: what its copy still brings to the device is looked at by nobody.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream: torch.cuda.Stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch has no types here
        # The weights may still be on their way there, on the stream of whoever loaded them.
        self._stream.wait_stream(torch.cuda.current_stream(device))
        self._pinned = torch.empty(0, dtype=torch.uint8)
        # By itself CUDA spins while a thread waits: on a core that decodes and prepares the next batch.
        self._done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]  # torch has no types here

    @contextmanager
    def running(self, squares: Sequence[Pixels]) -> Iterator[torch.Tensor]:
        """The pictures on the device, and what is done with them on this lane's stream."""
        shape = (len(squares), *squares[0].shape)
        if self._pinned.numel() < int(np.prod(shape)):
            self._pinned = torch.empty(int(np.prod(shape)), dtype=torch.uint8, pin_memory=True)
        pinned = self._pinned[: int(np.prod(shape))].view(shape)
        np.stack(squares, out=pinned.numpy())
        with torch.cuda.stream(self._stream):
            yield pinned.to(self._device, non_blocking=True)

    def fetch(self, embedded: torch.Tensor) -> Vectors:
        """The embeddings as an array, when they are there."""
        self._done.record(self._stream)
        self._done.synchronize()
        result: Vectors = embedded.to("cpu").numpy()
        return result


def _lane(device: torch.device) -> _CpuLane | _CudaLane:
    return _CudaLane(device) if device.type == "cuda" else _CpuLane()


def _timed(tower: _Tower, probes: torch.Tensor, device: torch.device) -> tuple[Vectors, float]:
    """The probes' embeddings, and the seconds of the best of a few runs after a first one."""
    pixels = probes.to(device)
    embedded = tower(pixels).cpu()
    durations: list[float] = []
    while len(durations) < _PROBE_RUNS and sum(durations) < _PROBE_S:
        started_at = time.perf_counter()
        embedded = tower(pixels).cpu()
        durations.append(time.perf_counter() - started_at)
    result: Vectors = embedded.numpy()
    return result, min(durations)


def _probes(count: int, side_px: int) -> npt.NDArray[np.uint8]:
    """Pictures that differ: blurred noise of several grains, always the same."""
    generator = np.random.default_rng(0)
    pictures = []
    for index in range(count):
        grain = max(1, side_px >> (index % 6 + 1))
        cells = generator.integers(0, 256, (-(-side_px // grain), -(-side_px // grain), 3), np.uint8)
        pictures.append(cells.repeat(grain, 0).repeat(grain, 1)[:side_px, :side_px])
    return np.stack(pictures)
