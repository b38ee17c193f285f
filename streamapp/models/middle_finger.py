"""MFD (``MFD``): middle-finger detection by MediaPipe's hand networks and the geometry of the fingers.

The mediapipe package can't be a dependency, because it pins numpy below 2: its networks are used directly.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from streamapp.errors import ModelError, WeightsError
from streamapp.media import Frame
from streamapp.models.base import Findings, Model, ModelInfo, Verdict
from streamapp.models.hands_detector import (
    HAND_SIDE_PX,
    LANDMARKS,
    HandDetector,
    PreparedFrame,
    RawHands,
    prepare_frame,
)
from streamapp.models.hands_geometry import Points, Tensor
from streamapp.models.hands_gesture import middle_finger_scores
from streamapp.models.hands_networks import LiteRtNetwork, Network, OnnxNetwork
from streamapp.models.hands_palms import ANCHOR_CENTRES, INPUT_SIDE_PX, Palm
from streamapp.models.store.lock import find_artifact
from streamapp.models.weights import WeightsFile
from streamapp.reasons import Reason

PALM, LANDMARK = "mfd-palm", "mfd-landmark"  # the artifacts

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
        palm, landmark: find the artifacts `PALM` and `LANDMARK`, and raise WeightsError.
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
        palm: Callable[[], WeightsFile],
        landmark: Callable[[], WeightsFile],
        threads: int,
        threshold: float = 0.5,
        closer_looks: int = 2,
        batch_sizes: tuple[int, ...] = (1, 2, 4, 8),
        device: str = "cpu",
    ) -> None:
        self.batch_sizes = batch_sizes
        self._locate = (palm, landmark)
        self._threads = threads
        self._threshold = threshold
        self._closer_looks = closer_looks
        self._device = device
        self._files: tuple[WeightsFile, WeightsFile] | None = None
        self._detector: HandDetector | None = None

    @property
    def info(self) -> ModelInfo:
        """What PROVENANCE says: of files that the user gave their own names; digests joined by a plus sign.

        Raises:
            WeightsError: as `check_weights`, where that has not been called before.
        """
        files = self._files or self._find_files()
        digests = [file.sha256 for file in files]
        is_pinned = digests == [find_artifact(name).sha256 for name in (PALM, LANDMARK)]
        return ModelInfo(
            name="mediapipe-hands-full" if is_pinned else "+".join(file.path.stem for file in files),
            weights_sha256="+".join(digests),
            precision="fp32",
            device=self._device,
        )

    def check_weights(self) -> None:
        """Find both files: the fetched ones must be the pinned ones, the user's own may be any."""
        self._find_files()

    def _find_files(self) -> tuple[WeightsFile, WeightsFile]:
        palm, landmark = self._locate
        self._files = palm(), landmark()
        return self._files

    def load(self) -> None:
        """Load both networks.

        Raises:
            WeightsError: a file is missing, is not the pinned one, or no network of its kind.
            SettingsError: the device can't be had.
        """
        palm_file, landmark_file = self._files or self._find_files()
        pool = ThreadPoolExecutor(self._threads, thread_name_prefix="litert")
        palm, landmark = self._network(palm_file, pool), self._network(landmark_file, pool)
        anchors = len(ANCHOR_CENTRES)
        _require_answers(palm, palm_file, INPUT_SIDE_PX, [(anchors, 18), (anchors, 1)])
        _require_answers(landmark, landmark_file, HAND_SIDE_PX, [(LANDMARKS * 3,), (1,)])
        self._detector = HandDetector(palm, landmark, closer_looks=self._closer_looks)

    def _network(self, file: WeightsFile, pool: Executor) -> Network:
        if self._device == "cpu":
            return LiteRtNetwork(file.path, pool=pool, threads=self._threads)
        # Imported here: only a GPU needs onnx.
        from streamapp.models.tflite_onnx import tflite_to_onnx

        return OnnxNetwork(
            tflite_to_onnx(file.path),
            what=f"MFD's network, rewritten from {file.path},",
            device=self._device,
            threads=self._threads,
            batch_sizes=self.batch_sizes,
        )

    def warm_up(self) -> None:
        """Run both networks in every batch size once."""
        for size in self.batch_sizes:
            self._loaded().warm_up(size)

    def try_out(self) -> None:
        """Run both networks once: in a black frame there is no palm, so the second would not run."""
        self._loaded().warm_up(1)

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


def _require_answers(
    network: Network, file: WeightsFile, side_px: int, shapes: Sequence[tuple[int, ...]]
) -> None:
    """Refuse a network whose answers would be misread, such as the one of the two in the other's place."""
    try:
        found = [output.shape[1:] for output in network([np.zeros((side_px, side_px, 3), np.float32)])[:2]]
    except Exception as exc:  # LiteRT and onnxruntime each raise their own for an input that does not fit
        raise WeightsError(f"The network at {file.path} takes no {side_px} px pictures: {exc}") from exc
    if found != shapes:
        raise WeightsError(
            f"The network at {file.path} is another one: it answers in the shapes {found}, expected {shapes}."
        )


def _hand(palm: Palm, landmarks: Tensor, presences: Tensor, prepared: PreparedFrame) -> Hand:
    """The hand as the view with the highest score shows it, of those in which there is a hand."""
    scores = middle_finger_scores(landmarks)
    best = int(scores.argmax())
    points = palm.hand.place(landmarks[best, :, :2].astype(np.float64), HAND_SIDE_PX)
    height, width = prepared.pixels.shape[:2]
    inside = np.clip(points, 0, (width, height))
    return Hand(
        score=float(scores[best]),
        palm_score=palm.score,
        presence=float(presences[best]),
        landmarks_px=tuple((x, y) for x, y in (points * prepared.scale + prepared.origin_px).tolist()),
        box_px=_box_px(inside * prepared.scale + prepared.origin_px),
    )


def _box_px(points: Points) -> tuple[float, float, float, float]:
    """Left, top, width and height of the smallest box around points ``(N, 2)``."""
    left, top = points.min(axis=0).tolist()
    right, bottom = points.max(axis=0).tolist()
    return left, top, right - left, bottom - top
