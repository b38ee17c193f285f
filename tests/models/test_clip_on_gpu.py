"""How CLIP treats a GPU, where there is none: torch.cuda answers for one, and the CPU computes.

That the numbers of a real one are right is for benchmarks/gpu.py to say.
"""

import logging
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch

from streamapp.models import clip_backbone
from streamapp.models.clip_backbone import ClipBackbone
from streamapp.models.clip_source import tiny_source
from streamapp.models.torch_device import DTYPES, Precision

PRECISIONS = {dtype: precision for precision, dtype in DTYPES.items()}
CPU = torch.device("cpu")


class PretendedGpu:
    """One GPU, by what torch.cuda says of it.

    Attributes:
        seconds: that the probes take, by precision; an error is raised in their place.
        measured: the precisions that were, in their order.
        in_memory: towers that were there when torch's cache was freed.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.capability = (7, 5)
        self.seconds: dict[Precision, float | Exception] = {"fp32": 4.0, "bf16": 2.0, "fp16": 1.0}
        self.measured: list[Precision] = []
        self.towers: weakref.WeakSet[torch.nn.Module] = weakref.WeakSet()
        self.in_memory: list[int] = []
        gpu = self

        class TowerOnCpu(clip_backbone._Tower):
            def __init__(
                self, exact: Any, transform: Any, device: torch.device, precision: Precision
            ) -> None:
                assert device.type == "cuda"
                super().__init__(exact, transform, CPU, precision)
                gpu.towers.add(self._tower)

        monkeypatch.setattr(clip_backbone, "require_device", lambda name: torch.device("cuda", 0))
        monkeypatch.setattr(clip_backbone, "_Tower", TowerOnCpu)
        monkeypatch.setattr(clip_backbone, "_timed", self._timed)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: self.capability)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla T4")
        monkeypatch.setattr(torch.cuda, "empty_cache", lambda: self.in_memory.append(len(self.towers)))

    def _timed(self, tower: Any, probes: object, device: object) -> tuple[np.ndarray, float]:
        precision = PRECISIONS[tower._dtype]
        self.measured.append(precision)
        seconds = self.seconds[precision]
        if isinstance(seconds, Exception):
            raise seconds
        return np.ones((1, 1), np.float32), seconds


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> PretendedGpu:
    return PretendedGpu(monkeypatch)


def settled(precision: str) -> ClipBackbone:
    backbone = ClipBackbone(tiny_source(), device="cuda", precision=precision, threads=1)
    backbone.load()
    backbone.settle()
    return backbone


@pytest.mark.parametrize(
    ("capability", "measured"),
    [((7, 5), ["fp32", "fp16"]), ((8, 0), ["fp32", "bf16", "fp16"]), ((9, 0), ["fp32", "bf16", "fp16"])],
    ids=["T4", "A100", "H100"],
)
def test_auto_tries_the_precisions_that_the_gpu_has_itself(
    gpu: PretendedGpu, capability: tuple[int, int], measured: list[str]
) -> None:
    gpu.capability = capability

    assert settled("auto").info.precision == "fp16"
    assert gpu.measured == measured


def test_auto_passes_over_a_precision_that_can_not_run(
    gpu: PretendedGpu, caplog: pytest.LogCaptureFixture
) -> None:
    gpu.capability = (8, 0)
    gpu.seconds["fp16"] = torch.OutOfMemoryError("CUDA out of memory")

    assert settled("auto").info.precision == "bf16"
    assert "tinyclip-emoji can't run in fp16 on cuda:0: CUDA out of memory" in caplog.messages


def test_a_gpu_that_can_not_even_run_fp32_is_an_error(gpu: PretendedGpu) -> None:
    gpu.seconds["fp32"] = RuntimeError("CUDA error: no kernel image is available")

    with pytest.raises(RuntimeError, match="no kernel image"):
        settled("auto")


def test_a_precision_that_the_gpu_has_not_is_taken_if_asked_for_and_warned_of(
    gpu: PretendedGpu, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, clip_backbone.__name__)

    assert settled("bf16").info.precision == "bf16"
    assert settled("fp16").info.precision == "fp16"
    (message,) = caplog.messages
    assert message.startswith("Tesla T4 has no bf16 of its own")


@pytest.mark.parametrize("precision", ["auto", "fp16", "fp32"])
def test_memory_that_only_the_choice_took_is_given_back_for_onnxruntime(
    gpu: PretendedGpu, precision: str
) -> None:
    backbone = settled(precision)

    assert gpu.in_memory == [1], "the tower that runs is there, and none of the others"
    assert backbone._tower is not None


class Clock:
    """What happens on a lane, in its order; stands in for torch.cuda's streams and events."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.happened: list[str] = []
        clock = self

        class Stream:
            def __init__(self, device: torch.device | None = None) -> None:
                pass

            def wait_stream(self, stream: "Stream") -> None:
                clock.happened.append("wait for the weights")

        class Event:
            def __init__(self, *, blocking: bool = False) -> None:
                self.blocking = blocking

            def record(self, stream: Stream) -> None:
                clock.happened.append("record")

            def synchronize(self) -> None:
                clock.happened.append("sleep" if self.blocking else "spin")

        @contextmanager
        def stream(which: Stream) -> Iterator[None]:
            clock.happened.append("begin")
            yield
            clock.happened.append("end")

        empty = torch.empty
        monkeypatch.setattr(torch, "empty", lambda *size, pin_memory=False, **rest: empty(*size, **rest))
        monkeypatch.setattr(torch.cuda, "Stream", Stream)
        monkeypatch.setattr(torch.cuda, "Event", Event)
        monkeypatch.setattr(torch.cuda, "stream", stream)
        monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream())


class Embeddings:
    """A tensor on a device, which tells when it is copied from there."""

    def __init__(self, clock: Clock, values: torch.Tensor) -> None:
        self._clock = clock
        self._values = values

    def to(self, device: str) -> torch.Tensor:
        self._clock.happened.append("copy")
        return self._values


def test_a_thread_sleeps_until_its_batch_is_done_and_copies_then(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    lane = clip_backbone._CudaLane(CPU)
    square = np.zeros((2, 2, 3), np.uint8)

    with lane.running([square]):
        answer = lane.fetch(Embeddings(clock, torch.ones(1, 3)))  # type: ignore[arg-type]

    assert answer.tolist() == [[1.0, 1.0, 1.0]]
    assert clock.happened == ["wait for the weights", "begin", "record", "sleep", "copy", "end"]


def test_batches_of_any_size_go_through_one_buffer(monkeypatch: pytest.MonkeyPatch) -> None:
    Clock(monkeypatch)
    lane = clip_backbone._CudaLane(CPU)
    squares = np.random.default_rng(0).integers(0, 256, (8, 4, 4, 3), np.uint8)

    for first, count in ((0, 1), (2, 6), (1, 3), (7, 1)):
        chosen = squares[first : first + count]
        with lane.running(list(chosen)) as pixels:
            assert np.array_equal(pixels.numpy(), chosen)
    assert lane._pinned.numel() == 6 * squares[0].size
