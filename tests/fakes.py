"""Models that stand in for networks in tests; named by what they do.

Their answers depend on the frame, so that an answer that reaches the wrong frame shows.
"""

import threading
from collections.abc import Sequence

import numpy as np

from streamapp.errors import WeightsError
from streamapp.media import Frame, Picture
from streamapp.models.base import Findings, Model, ModelInfo, Verdict


def frame_of(value: int, index: int = 0) -> Frame:
    """A frame whose every pixel has one value from 0 to 255, by which a finding is told apart."""
    return Frame(np.full((2, 2, 3), value, np.uint8), index=index, time_s=float(index))


def picture_of(*values: int) -> Picture:
    """A picture with one key frame for each value."""
    frames = tuple(frame_of(value, index) for index, value in enumerate(values))
    return Picture("00" * 32, "image/png", 100, 2, 2, frames)


class BrightnessModel(Model[int, int, int]):
    """Finds the frame's brightness; moderates pictures brighter than 200."""

    name = "nudenet"
    prefix = "NN"
    batch_sizes = (1, 2, 4)

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.threads: set[str] = set()
        self.is_warm = False

    @property
    def info(self) -> ModelInfo:
        return ModelInfo("brightness", "ab" * 32, "fp32", "cpu")

    def check_weights(self) -> None:
        pass

    def load(self) -> None:
        self.threads.add(threading.current_thread().name)

    def warm_up(self) -> None:
        self.is_warm = True

    def prepare(self, frame: Frame) -> int:
        return int(frame.pixels[0, 0, 0])

    def infer(self, batch: Sequence[int]) -> Sequence[int]:
        self.threads.add(threading.current_thread().name)
        self.batches.append(list(batch))
        return [value * 10 for value in batch]

    def finish(self, raw: int, prepared: int) -> int:
        assert raw == prepared * 10
        return prepared

    def judge(self, findings: Findings) -> Verdict:
        mine = findings[self.name]
        return Verdict(max(mine) > 200, {"NN_SAFE_SCORES": ", ".join(str(255 - value) for value in mine)})

    def describe(self, finding: int) -> Sequence[dict[str, object]]:
        return [{"label": "bright", "score": finding}] if finding > 200 else []


class TaggingModel(BrightnessModel):
    """Only tags, as CoOp does."""

    name = "coop"
    prefix = "COOP"
    moderates = False

    def judge(self, findings: Findings) -> Verdict:
        return Verdict(True, {}, ("selfies",), ("selfie",))


class FailingModel(BrightnessModel):
    """Raises in the stage that is named, on frames of value 13."""

    def __init__(self, stage: str) -> None:
        super().__init__()
        self.stage = stage

    def _maybe_fail(self, stage: str, values: Sequence[int]) -> None:
        if stage == self.stage and 13 in values:
            raise ValueError(f"13 in {stage}")

    def prepare(self, frame: Frame) -> int:
        value = super().prepare(frame)
        self._maybe_fail("prepare", [value])
        return value

    def infer(self, batch: Sequence[int]) -> Sequence[int]:
        self._maybe_fail("infer", batch)
        return super().infer(batch)

    def finish(self, raw: int, prepared: int) -> int:
        self._maybe_fail("finish", [prepared])
        return super().finish(raw, prepared)

    def judge(self, findings: Findings) -> Verdict:
        self._maybe_fail("judge", findings[self.name])
        return super().judge(findings)

    def describe(self, finding: int) -> Sequence[dict[str, object]]:
        self._maybe_fail("describe", [finding])
        return super().describe(finding)


class HangingModel(BrightnessModel):
    """Never comes back from `infer` until `release` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.release = threading.Event()

    def infer(self, batch: Sequence[int]) -> Sequence[int]:
        self.release.wait(60)
        return super().infer(batch)


class WeightlessModel(BrightnessModel):
    """Has lost its weights."""

    def check_weights(self) -> None:
        raise WeightsError("weights.onnx is missing")
