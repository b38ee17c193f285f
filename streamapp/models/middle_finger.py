"""MFD (``MFD``): middle-finger detection by MediaPipe's hand networks and the geometry of the fingers.

The mediapipe package can't be a dependency, because it pins numpy below 2: its networks are used directly.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from streamapp.errors import ModelError
from streamapp.media import Frame
from streamapp.models.base import Findings, Model, ModelInfo, Verdict
from streamapp.models.hands_detector import (
    HAND_SIDE_PX,
    HandDetector,
    PreparedFrame,
    RawHands,
    prepare_frame,
)
from streamapp.models.hands_geometry import Points, Tensor
from streamapp.models.hands_gesture import middle_finger_scores
from streamapp.models.hands_networks import LiteRtNetwork, Network, OnnxNetwork
from streamapp.models.hands_palms import Palm
from streamapp.models.weights import require_file
from streamapp.reasons import Reason

PALM_SHA256 = "1b14e9422c6ad006cde6581a46c8b90dd573c07ab7f3934b5589e7cea3f89a54"
LANDMARK_SHA256 = "11c272b891e1a99ab034208e23937a8008388cf11ed2a9d776ed3d01d0ba00e3"

MIN_PRESENCE = 0.5  # below it the landmark network sees no hand where the palm network saw a palm


@dataclass(frozen=True, slots=True)
class Hand:
    """One hand in a frame.

    Attributes:
        score: in [0, 1], how surely it shows the middle finger.
        palm_score: in [0.5, 1], of the palm network.
        presence: in [0.5, 1], of the landmark network.
        landmarks_px: 21 points x, y in pixels of the file, in MediaPipe's order; some may lie outside.
        box_px: left, top, width, height around the landmarks in pixels of the file, inside the picture.
    """

    score: float
    palm_score: float
    presence: float
    landmarks_px: tuple[tuple[float, float], ...]
    box_px: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class MiddleFingerFinding:
    """The hands of one frame, highest score first."""

    hands: tuple[Hand, ...]

    @property
    def score(self) -> float:
        """The highest score of a hand, 0.0 where there is none."""
        return max((hand.score for hand in self.hands), default=0.0)


class MiddleFinger(Model[PreparedFrame, RawHands, MiddleFingerFinding]):
    """MediaPipe's full hand networks, on LiteRT on a CPU, on onnxruntime on a GPU.

    Args:
        palm, landmark: palm_detection_full.tflite and hand_landmark_full.tflite of mediapipe 0.10.21.
        threads: CPU threads of one `infer`.
        threshold: lowest score in (0, 1] of a hand that makes a picture to be moderated.
        closer_looks: most doubtful palms of a frame at which the palm network looks again, larger; 0: never.
        batch_sizes: see `Model`.
        device: ``cpu``, ``cuda`` or ``cuda:<index>``; never replaced by another one.
    """

    name = "mfd"
    prefix = "MFD"

    def __init__(
        self,
        *,
        palm: Path,
        landmark: Path,
        threads: int,
        threshold: float = 0.5,
        closer_looks: int = 2,
        batch_sizes: tuple[int, ...] = (1, 2, 4, 8),
        device: str = "cpu",
    ) -> None:
        self.batch_sizes = batch_sizes
        self._palm = palm
        self._landmark = landmark
        self._threads = threads
        self._threshold = threshold
        self._closer_looks = closer_looks
        self._device = device
        self._detector: HandDetector | None = None

    @property
    def info(self) -> ModelInfo:
        """What PROVENANCE says; the digests of the two files are joined by a plus sign."""
        return ModelInfo(
            name="mediapipe-hands-full",
            weights_sha256=f"{PALM_SHA256}+{LANDMARK_SHA256}",
            precision="fp32",
            device=self._device,
        )

    def check_weights(self) -> None:
        """Hash both files, which must be the pinned ones."""
        for path, sha256 in ((self._palm, PALM_SHA256), (self._landmark, LANDMARK_SHA256)):
            require_file(
                path,
                what="MFD's network",
                how_to_get="run `streamapp models fetch`",
                expected_sha256=sha256,
            )

    def load(self) -> None:
        """Load both networks.

        Raises:
            WeightsError: a file is missing or is not the pinned one.
            SettingsError: the device can't be had.
        """
        self.check_weights()
        palm, landmark = self._networks()
        self._detector = HandDetector(palm, landmark, closer_looks=self._closer_looks)

    def _networks(self) -> tuple[Network, Network]:
        palm, landmark = self._palm.expanduser(), self._landmark.expanduser()
        if self._device == "cpu":
            pool = ThreadPoolExecutor(self._threads, thread_name_prefix="litert")
            return (
                LiteRtNetwork(palm, pool=pool, threads=self._threads),
                LiteRtNetwork(landmark, pool=pool, threads=self._threads),
            )
        return self._on_gpu(palm), self._on_gpu(landmark)

    def _on_gpu(self, path: Path) -> Network:
        # Imported here: only a GPU needs onnx.
        from streamapp.models.tflite_onnx import tflite_to_onnx

        return OnnxNetwork(
            tflite_to_onnx(path),
            what=f"MFD's network, rewritten from {path},",
            device=self._device,
            threads=self._threads,
            batch_sizes=self.batch_sizes,
        )

    def warm_up(self) -> None:
        """Run both networks in every batch size once."""
        for size in self.batch_sizes:
            self._loaded().warm_up(size)

    def prepare(self, frame: Frame) -> PreparedFrame:
        """Scale the frame to the palm network's input."""
        return prepare_frame(frame)

    def infer(self, batch: Sequence[PreparedFrame]) -> Sequence[RawHands]:
        """Find the palms, and the landmarks of their hands; see `HandDetector`."""
        return self._loaded().detect(batch)

    def _loaded(self) -> HandDetector:
        if self._detector is None:
            raise RuntimeError("MFD ran before it was loaded. This is a bug.")
        return self._detector

    def finish(self, raw: RawHands, prepared: PreparedFrame) -> MiddleFingerFinding:
        """Score the hands that the landmark network agrees to be hands."""
        if not raw.is_finite:
            raise ModelError(Reason.MODEL_NOT_FINITE, "MFD answered with numbers that are not finite.")
        hands = [
            _hand(palm, landmarks[presences >= MIN_PRESENCE], presences[presences >= MIN_PRESENCE], prepared)
            for palm, landmarks, presences in zip(raw.palms, raw.landmarks, raw.presences, strict=True)
            if presences.max() >= MIN_PRESENCE
        ]
        return MiddleFingerFinding(tuple(sorted(hands, key=lambda hand: -hand.score)))

    def judge(self, findings: Findings) -> Verdict:
        """One hand in one frame is enough; MFD has no columns of its own."""
        mine: Sequence[MiddleFingerFinding] = findings[self.name]
        return Verdict(to_be_moderated=any(finding.score >= self._threshold for finding in mine))

    def describe(self, finding: MiddleFingerFinding) -> Sequence[Mapping[str, Any]]:
        """Every hand, scores to 4 places, boxes to a tenth of a pixel."""
        return [
            {
                "label": "middle finger" if hand.score >= self._threshold else "hand",
                "score": round(hand.score, 4),
                "box": [round(edge, 1) for edge in hand.box_px],
            }
            for hand in finding.hands
        ]


def _hand(palm: Palm, landmarks: Tensor, presences: Tensor, prepared: PreparedFrame) -> Hand:
    """The hand as the view with the highest score shows it, of those in which there is a hand."""
    scores = middle_finger_scores(landmarks)
    best = int(scores.argmax())
    points = palm.hand.place(landmarks[best, :, :2].astype(np.float64), HAND_SIDE_PX)
    height, width = prepared.pixels.shape[:2]
    return Hand(
        score=float(scores[best]),
        palm_score=palm.score,
        presence=float(presences[best]),
        landmarks_px=tuple((x, y) for x, y in (points * prepared.scale).tolist()),
        box_px=_box_px(np.clip(points, 0, (width, height)) * prepared.scale),
    )


def _box_px(points: Points) -> tuple[float, float, float, float]:
    """Left, top, width and height of the smallest box around points ``(N, 2)``."""
    left, top = points.min(axis=0).tolist()
    right, bottom = points.max(axis=0).tolist()
    return left, top, right - left, bottom - top
