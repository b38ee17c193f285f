"""From a hand's landmarks to how surely it shows the middle finger. Pure functions."""

import numpy as np
import numpy.typing as npt

from streamapp.models.hands_geometry import Tensor

LANDMARKS = 21

# Index, middle, ring and little finger: base, two joints, tip. The thumb has no say: people put it anywhere.
_FINGERS = np.arange(5, LANDMARKS).reshape(4, 4)
_MIDDLE, _OTHERS = 1, [0, 2, 3]

# Where a smooth step is half way, and how wide it is. In the photos that they were chosen on, the fingers
# beside a shown middle finger bend by 83 degrees and more and have at most 0.68 of its length; without the
# gesture that is 0.83 and more.
_MIDDLE_BEND_DEG = (70.0, 10.0)
_OTHER_BEND_DEG = (75.0, 12.0)
_LENGTH_RATIO = (0.70, 0.05)

Scores = npt.NDArray[np.float64]


def middle_finger_scores(landmarks: Tensor) -> Scores:
    """Score hands: s(middle is straight) x min over the others s(it is bent) x s(they are much shorter).

    Args:
        landmarks: ``(N, 21, 3)`` in units of the landmark network's input, x, y and depth; from its crop,
            not its metric "world" landmarks, whose fingers are all bent towards the mean.

    Returns:
        ``(N,)`` in [0, 1].
    """
    joints = landmarks.astype(np.float64)[:, _FINGERS]
    bones = np.diff(joints, axis=2)
    bends_deg = _angles_deg(bones[:, :, :-1], bones[:, :, 1:]).sum(axis=2)
    lengths = np.linalg.norm(joints[:, :, -1] - joints[:, :, 0], axis=2)
    middle_length = np.maximum(lengths[:, _MIDDLE], 1e-9)
    ratios = lengths[:, _OTHERS].max(axis=1) / middle_length
    scores: Scores = (
        _step_down(bends_deg[:, _MIDDLE], *_MIDDLE_BEND_DEG)
        * (1.0 - _step_down(bends_deg[:, _OTHERS], *_OTHER_BEND_DEG)).min(axis=1)
        * _step_down(ratios, *_LENGTH_RATIO)
    )
    return scores


def _angles_deg(first: Scores, second: Scores) -> Scores:
    """Angles ``(...)`` between vectors ``(..., 3)``, in [0, 180]; 90 where one of them has no length."""
    lengths = np.linalg.norm(first, axis=-1) * np.linalg.norm(second, axis=-1)
    cosines = (first * second).sum(axis=-1) / np.maximum(lengths, 1e-12)
    angles: Scores = np.degrees(np.arccos(np.clip(cosines, -1.0, 1.0)))
    return angles


def _step_down(values: Scores, half_way: float, width: float) -> Scores:
    """1 far below ``half_way``, 0 far above it."""
    steps: Scores = 1.0 / (1.0 + np.exp(np.clip((values - half_way) / width, -60.0, 60.0)))
    return steps
