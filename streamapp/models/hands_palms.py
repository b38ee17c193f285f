"""From the palm network's answer to palms, and from a palm to the region of its hand. Pure functions.

Geometry and constants follow MediaPipe's palm_detection_cpu and palm_detection_detection_to_roi graphs, for
which the networks were made; the closer look is our own.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from math import atan2, cos, pi, sin

import numpy as np
import numpy.typing as npt

from streamapp.models.hands_geometry import Points, Region, Tensor

INPUT_SIDE_PX = 192
MIN_SCORE = 0.5
MIN_DOUBTFUL_SCORE = 0.1  # from here to `MIN_SCORE` a palm is worth a closer look
MAX_OVERLAP = 0.3  # intersection over union above which two candidates are the same palm
MAX_PALMS = 16  # best first; bounds the time that one frame can take
REGION_SCALE = 2.6  # side of a hand's region, in longer sides of its palm's box
REGION_SHIFT = 0.5  # from the palm towards the fingers, in heights of its box
LOOK_SCALE = 8.0  # side of a closer look at a palm, in longer sides of its box; 4 and 6 confirm fewer palms

# Layers of anchors: cells along each side of the input, anchors in each cell.
_LAYERS = ((24, 2), (12, 6))
# What an anchor's row holds after centre and size: seven key points, of which these two are needed.
_WRIST, _MIDDLE_BASE = 0, 2

Scores = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Palm:
    """A palm in a frame.

    Attributes:
        score: in [`MIN_DOUBTFUL_SCORE`, 1].
        hand: the square of its hand, whose "up" is from the wrist to the middle finger.
        look: the square for a closer look at it.
        box_px: left, top, right, bottom of the palm in pixels of the frame.
    """

    score: float
    hand: Region
    look: Region
    box_px: tuple[float, float, float, float]

    @property
    def is_doubtful(self) -> bool:
        """Whether it scores too little to be taken for a palm."""
        return self.score < MIN_SCORE


def _anchor_centres() -> Points:
    """Centres ``(2016, 2)`` of the network's anchors, in [0, 1] of its input, row by row."""
    layers = []
    for cells, anchors_per_cell in _LAYERS:
        centres = (np.arange(cells) + 0.5) / cells
        x, y = np.meshgrid(centres, centres)
        layers.append(np.repeat(np.stack([x, y], axis=-1).reshape(-1, 2), anchors_per_cell, axis=0))
    return np.concatenate(layers)


ANCHOR_CENTRES = _anchor_centres()


def read_palms(rows: Tensor, logits: Tensor, square: Region) -> list[Palm]:
    """Turn the palm network's answer on one square of a frame into palms, best first, doubtful ones too.

    1. Keep the anchors that score at least `MIN_DOUBTFUL_SCORE`.
    2. Place their boxes and key points on the frame.
    3. Melt those that show the same palm into one.

    Args:
        rows: ``(2016, 18)`` float32: centre x, y, width, height, then seven key points x, y, in pixels of
            the input; centre and key points from the anchor's centre.
        logits: ``(2016,)`` float32.
        square: what the network saw of the frame.
    """
    # 1
    scores = 1.0 / (1.0 + np.exp(-np.clip(logits.astype(np.float64), -100.0, 100.0)))
    is_box = np.isfinite(rows).all(axis=1) & (rows[:, 2:4] > 0).all(axis=1)
    kept = np.flatnonzero((scores >= MIN_DOUBTFUL_SCORE) & is_box)
    if kept.size == 0:
        return []
    # 2
    points = square.place(_points(rows[kept].astype(np.float64), ANCHOR_CENTRES[kept]), INPUT_SIDE_PX)
    # 3
    return [_palm(melted, score) for melted, score in _melt(points, scores[kept])]


def _points(rows: Points, centres: Points) -> Points:
    """Of each anchor four points ``(N, 4, 2)`` in pixels of the input.

    In this order: the box's top left and bottom right, the wrist, the base of the middle finger.
    """
    origin = centres * INPUT_SIDE_PX
    centre, half = rows[:, :2] + origin, rows[:, 2:4] / 2
    key_points = rows[:, 4:].reshape(-1, 7, 2) + origin[:, None]
    return np.stack(
        [centre - half, centre + half, key_points[:, _WRIST], key_points[:, _MIDDLE_BASE]], axis=1
    )


def _melt(points: Points, scores: Scores) -> list[tuple[Points, float]]:
    """Weighted non-maximum suppression, best first.

    What overlaps the best candidate is averaged with it, weighted by score, under the best one's score;
    then the same with the rest.
    """
    order = np.argsort(-scores, kind="stable")
    points, scores = points[order], scores[order]
    melted: list[tuple[Points, float]] = []
    while scores.size and len(melted) < MAX_PALMS:
        same = overlaps(points[:, 0], points[:, 1], points[0, 0], points[0, 1]) > MAX_OVERLAP
        same[0] = True
        # Doubtful candidates do not move a palm that is beyond doubt: MediaPipe does not see them.
        weights = np.where(same & ((scores >= MIN_SCORE) | (scores[0] < MIN_SCORE)), scores, 0.0)
        melted.append((np.tensordot(weights / weights.sum(), points, axes=1), float(scores[0])))
        points, scores = points[~same], scores[~same]
    return melted


def overlaps(lows: Points, highs: Points, low: Points, high: Points) -> npt.NDArray[np.float64]:
    """Intersection over union ``(N,)`` of boxes with one box, by their corners ``(N, 2)`` and ``(2,)``."""
    common = np.clip(np.minimum(highs, high) - np.maximum(lows, low), 0, None).prod(axis=-1)
    together = (highs - lows).prod(axis=-1) + (high - low).prod() - common
    shares: npt.NDArray[np.float64] = common / np.maximum(together, np.finfo(np.float64).tiny)
    return shares


def _palm(points: Points, score: float) -> Palm:
    low, high, wrist, middle_base = points
    width, height = (high - low).tolist()
    centre_x, centre_y = ((low + high) / 2).tolist()
    rotation = pi / 2 - atan2(wrist[1] - middle_base[1], middle_base[0] - wrist[0])
    hand = Region(
        centre_x_px=centre_x + REGION_SHIFT * height * sin(rotation),
        centre_y_px=centre_y - REGION_SHIFT * height * cos(rotation),
        side_px=REGION_SCALE * max(width, height),
        rotation_rad=rotation,
    )
    look = Region(centre_x, centre_y, LOOK_SCALE * max(width, height))
    return Palm(score, hand, look, (*low.tolist(), *high.tolist()))


def merge_palms(looks: Iterable[Iterable[Palm]]) -> tuple[Palm, ...]:
    """The palms that are not doubtful of several looks at a frame, each once; an earlier look's stands."""
    merged: list[Palm] = []
    for palm in chain.from_iterable(looks):
        if not palm.is_doubtful and not any(_is_same(palm, other) for other in merged):
            merged.append(palm)
    return tuple(merged[:MAX_PALMS])


def _is_same(palm: Palm, other: Palm) -> bool:
    low, high, other_low, other_high = np.reshape((palm.box_px, other.box_px), (4, 2))
    return bool(overlaps(low, high, other_low, other_high) > MAX_OVERLAP)
