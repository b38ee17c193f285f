"""NudeNet (``NN``): the detector of exposed body parts whose weights the nudenet package carries.

The package's own code is not used: it ignores EXIF and the providers it is given, drops alpha, and loops
in Python over every anchor. Its geometry is kept to the pixel, so that its published recall holds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from streamapp.errors import ModelError, SettingsError, WeightsError
from streamapp.media import Frame
from streamapp.models.base import Findings, Model, ModelInfo, Verdict
from streamapp.models.nudenet_detections import (
    INPUT_SIDE_PX,
    LABELS,
    SCORE_FLOOR,
    Detection,
    Tensor,
    read_detections,
)
from streamapp.models.onnx_session import BatchSessions
from streamapp.models.store.locating import locate_artifact
from streamapp.models.store.lock import find_artifact
from streamapp.models.weights import WeightsFile
from streamapp.policy import NudeNetPolicy
from streamapp.reasons import Reason
from streamapp.records import join_scores

ChannelOrder = Literal["rgb", "package"]


@dataclass(frozen=True, slots=True, eq=False)
class PreparedFrame:
    """The network's input, and what leads from its coordinates back to the file's.

    Attributes:
        tensor: ``(3, 320, 320)`` float32 in [0, 1], the frame in the top left corner, black elsewhere.
        width_px, height_px: of the frame.
        scale: file pixels per frame pixel.
        origin_px: left and top of the frame in the file.
    """

    tensor: Tensor
    width_px: int
    height_px: int
    scale: float
    origin_px: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True, slots=True)
class NudeNetFinding:
    """What NudeNet sees in one frame.

    Attributes:
        detections: best first.
        unsafe_score: the highest score of a class that the policy calls unsafe, 0.0 where there is none.
        is_unsafe: some detection reaches its class's threshold.
    """

    detections: tuple[Detection, ...]
    unsafe_score: float
    is_unsafe: bool


class NudeNet(Model[PreparedFrame, Tensor, NudeNetFinding]):
    """NudeNet's detector on onnxruntime.

    Args:
        weights: an ONNX file with the inputs and outputs of 320n; None takes the nudenet package's.
        channel_order: ``rgb``, or ``package`` for the BGR that the nudenet package feeds its network.
        threads: CPU threads of one `infer`.
        policy: the unsafe classes and their thresholds.
        batch_sizes: see `Model`.
        device: ``cpu``, ``cuda`` or ``cuda:<index>``; never replaced by another one.

    Raises:
        SettingsError: the policy names a class that NudeNet has not, or a threshold below `SCORE_FLOOR`.
    """

    name = "nudenet"
    prefix = "NN"

    def __init__(
        self,
        *,
        weights: Path | None,
        channel_order: ChannelOrder,
        threads: int,
        policy: NudeNetPolicy,
        batch_sizes: tuple[int, ...] = (1, 2, 4, 8),
        device: str = "cpu",
    ) -> None:
        _check_policy(policy)
        self.batch_sizes = batch_sizes
        self._weights = weights
        self._channel_order = channel_order
        self._threads = threads
        self._policy = policy
        self._device = device
        self._file: WeightsFile | None = None
        self._sessions: BatchSessions | None = None

    @property
    def info(self) -> ModelInfo:
        """What PROVENANCE says; the name of a file that the user gave is the file's own.

        Raises:
            WeightsError: as `check_weights`, where that has not been called before.
        """
        file = self._file or self._require_weights()
        name = "320n" if file.sha256 == find_artifact(self.name).sha256 else file.path.stem
        return ModelInfo(name=name, weights_sha256=file.sha256, precision="fp32", device=self._device)

    def check_weights(self) -> None:
        """Hash the weights: the package's must be the pinned ones, the user's own may be any."""
        self._require_weights()

    def _require_weights(self) -> WeightsFile:
        self._file = locate_artifact(find_artifact(self.name), own=self._weights)
        return self._file

    def load(self) -> None:
        """Open the weights with onnxruntime.

        Raises:
            WeightsError: the weights are missing, or are no network with 320n's inputs and outputs.
            SettingsError: the device can't be had.
        """
        file = self._file or self._require_weights()
        sessions = BatchSessions(
            file.path,
            what="NudeNet's weights",
            threads=self._threads,
            device=self._device,
            batch_sizes=self.batch_sizes,
        )
        _check_signature(sessions.first, file.path)
        self._sessions = sessions

    def prepare(self, frame: Frame) -> PreparedFrame:
        """Pad with black on the right and below to a square, scale to 320 x 320 px and to [0, 1].

        Padding comes first because scaling first rounds the shorter side: that saves 0.1 ms and moves
        scores by up to 0.06 against the nudenet package.
        """
        height, width = frame.pixels.shape[:2]
        side = max(height, width)
        square = cv2.copyMakeBorder(
            frame.pixels, 0, side - height, 0, side - width, cv2.BORDER_CONSTANT, value=(0, 0, 0)
        )
        small = cv2.resize(square, (INPUT_SIDE_PX, INPUT_SIDE_PX), interpolation=cv2.INTER_LINEAR)
        if self._channel_order == "package":
            small = small[:, :, ::-1]
        tensor = np.multiply(small.transpose(2, 0, 1), np.float32(1 / 255), dtype=np.float32, order="C")
        return PreparedFrame(tensor, width, height, frame.scale, frame.origin_px)

    def infer(self, batch: Sequence[PreparedFrame]) -> Sequence[Tensor]:
        """Run the network once; each answer is ``(22, 2100)`` float32: centre x, y, width, height, scores."""
        if self._sessions is None:
            raise RuntimeError("NudeNet ran before it was loaded. This is a bug.")
        (output,) = self._sessions.run(np.stack([prepared.tensor for prepared in batch]))
        return list(output)

    def finish(self, raw: Tensor, prepared: PreparedFrame) -> NudeNetFinding:
        """Read the detections and apply the policy to them."""
        if not np.isfinite(raw).all():
            raise ModelError(Reason.MODEL_NOT_FINITE, "NudeNet answered with numbers that are not finite.")
        detections = read_detections(
            raw, prepared.width_px, prepared.height_px, prepared.scale, prepared.origin_px
        )
        policy = self._policy
        return NudeNetFinding(
            detections=detections,
            unsafe_score=max((d.score for d in detections if policy.is_unsafe_class(d.label)), default=0.0),
            is_unsafe=any(policy.is_unsafe(d.label, d.score) for d in detections),
        )

    def judge(self, findings: Findings) -> Verdict:
        """One unsafe frame makes the picture to be moderated; the columns have one score per frame."""
        mine: Sequence[NudeNetFinding] = findings[self.name]
        return Verdict(
            to_be_moderated=any(finding.is_unsafe for finding in mine),
            columns={
                "NN_SAFE_SCORES": join_scores([1.0 - finding.unsafe_score for finding in mine]),
                "NN_UNSAFE_SCORES": join_scores([finding.unsafe_score for finding in mine]),
            },
        )

    def describe(self, finding: NudeNetFinding) -> Sequence[Mapping[str, Any]]:
        """The detections, scores to 4 places, boxes to a tenth of a pixel."""
        return [
            {
                "label": detection.label,
                "score": round(detection.score, 4),
                "box": [round(edge, 1) for edge in detection.box_px],
            }
            for detection in finding.detections
        ]


def _check_policy(policy: NudeNetPolicy) -> None:
    for label, threshold in policy.unsafe_thresholds.items():
        if label not in LABELS:
            raise SettingsError(f"The policy calls {label} unsafe, which is no class of NudeNet's.")
        if threshold < SCORE_FLOOR:
            raise SettingsError(
                f"The policy's threshold of {label} is {threshold}, but NudeNet reports nothing "
                f"below {SCORE_FLOOR}."
            )


def _check_signature(session: Any, path: Path) -> None:
    """Refuse a network whose answers would be misread."""
    inputs, outputs = session.get_inputs(), session.get_outputs()
    names = [node.name for node in inputs]
    rows = outputs[0].shape[1] if len(outputs) == 1 and len(outputs[0].shape) == 3 else None
    if names != ["images"] or rows != 4 + len(LABELS):
        raise WeightsError(
            f"The network at {path} is no NudeNet v3 detector: it has the inputs {names} and outputs of "
            f"{[node.shape for node in outputs]}, expected images and (batch, {4 + len(LABELS)}, anchors)."
        )
    shape = inputs[0].shape
    # A length that is not fixed is a name or None.
    wanted = (None, 3, INPUT_SIDE_PX, INPUT_SIDE_PX)
    is_fixed_otherwise = [
        isinstance(found, int) and found != fit for found, fit in zip(shape, wanted, strict=False)
    ]
    if len(shape) != len(wanted) or any(is_fixed_otherwise):
        raise WeightsError(
            f"The network at {path} takes pictures {shape}, expected (batch, 3, {INPUT_SIDE_PX}, "
            f"{INPUT_SIDE_PX}) with a batch of any size: export it anew."
        )
