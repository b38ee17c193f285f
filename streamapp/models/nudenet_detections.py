"""From NudeNet's raw answer to detections. Pure functions on arrays."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Tensor = npt.NDArray[np.float32]

INPUT_SIDE_PX = 320
SCORE_FLOOR = 0.25  # what scores no more is no detection
MAX_OVERLAP = 0.45  # intersection over union above which the lower of two detections goes

# In the order of the network's output.
LABELS = (
    "FEMALE_GENITALIA_COVERED",
    "FACE_FEMALE",
    "BUTTOCKS_EXPOSED",
    "FEMALE_BREAST_EXPOSED",
    "FEMALE_GENITALIA_EXPOSED",
    "MALE_BREAST_EXPOSED",
    "ANUS_EXPOSED",
    "FEET_EXPOSED",
    "BELLY_COVERED",
    "FEET_COVERED",
    "ARMPITS_COVERED",
    "ARMPITS_EXPOSED",
    "FACE_MALE",
    "BELLY_EXPOSED",
    "MALE_GENITALIA_EXPOSED",
    "ANUS_COVERED",
    "FEMALE_BREAST_COVERED",
    "BUTTOCKS_COVERED",
)


@dataclass(frozen=True, slots=True)
class Detection:
    """One body part.

    Attributes:
        label: one of `LABELS`.
        score: in (`SCORE_FLOOR`, 1].
        box_px: left, top, width, height in pixels of the file, inside the picture.
    """

    label: str
    score: float
    box_px: tuple[float, float, float, float]


def read_detections(
    raw: Tensor,
    width_px: int,
    height_px: int,
    scale: float,
    origin_px: tuple[float, float] = (0.0, 0.0),
) -> tuple[Detection, ...]:
    """Turn one answer of the network into detections, best first.

    1. Keep the anchors whose best class scores more than `SCORE_FLOOR`.
    2. Place their boxes on the frame.
    3. Of boxes that overlap keep the best, whatever their classes are.

    Args:
        raw: ``(22, anchors)`` float32, finite: centre x, y, width and height in pixels of the network's
            input, then a score in [0, 1] for each of `LABELS`.
        width_px, height_px: of the frame.
        scale: file pixels per frame pixel.
        origin_px: left and top of the frame, in pixels of the file.
    """
    # 1: the nudenet package cuts at 0.2 here and at 0.25 in step 3, which is the same
    best_scores = raw[4:].max(axis=0)
    anchors = np.flatnonzero(best_scores > SCORE_FLOOR)
    if anchors.size == 0:
        return ()
    scores = best_scores[anchors]
    classes = raw[4:, anchors].argmax(axis=0)
    # 2
    boxes = _place_boxes(raw[:4, anchors], width_px, height_px)
    # 3: the same function and values as in the nudenet package
    kept = cv2.dnn.NMSBoxes(boxes.tolist(), scores.tolist(), SCORE_FLOOR, MAX_OVERLAP)
    return tuple(
        Detection(
            LABELS[classes[index]], float(scores[index]), _box_px(boxes[index] * scale + (*origin_px, 0, 0))
        )
        for index in kept
    )


def _place_boxes(anchors: Tensor, width_px: int, height_px: int) -> npt.NDArray[np.float64]:
    """Boxes ``(N, 4)``, left, top, width, height, in frame pixels and inside the frame, from ``(4, N)``.

    As in the nudenet package, a box that begins outside the frame is moved in before it is cut.
    """
    pixels_per_unit = max(width_px, height_px) / INPUT_SIDE_PX
    centre_x, centre_y, width, height = anchors.astype(np.float64) * pixels_per_unit
    left = np.clip(centre_x - width / 2, 0, width_px)
    top = np.clip(centre_y - height / 2, 0, height_px)
    width = np.clip(width, 0, width_px - left)
    height = np.clip(height, 0, height_px - top)
    return np.stack([left, top, width, height], axis=1)


def _box_px(box: npt.NDArray[np.float64]) -> tuple[float, float, float, float]:
    left, top, width, height = box.tolist()
    return left, top, width, height
