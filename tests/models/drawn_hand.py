"""A drawn hand that the real networks take for one: a picture with a hand that may go into the repository."""

import cv2
import numpy as np

from streamapp.media import Pixels

_SIDE_PX = 480
_SKIN = np.array([193.0, 155.0, 138.0])
_BACKGROUND = (178, 38, 217)
_FINGER_PX = 39
_MIDDLE = 1


def middle_finger_picture() -> Pixels:
    """A hand that shows the middle finger, ``(480, 480, 3)``, slightly turned."""
    image = np.full((_SIDE_PX, _SIDE_PX, 3), _BACKGROUND, np.uint8)
    _limb(image, (240, 500), (240, 364), 2.3 * _FINGER_PX)
    _back_of_the_hand(image)
    for finger, (below_px, bent_px) in enumerate(((6, 65), (0, 0), (3, 61), (14, 41))):
        x, y = 240 + (finger - 1.45) * _FINGER_PX, 252 + below_px
        if finger == _MIDDLE:
            _limb(image, (x, y + 10), (x - 1, y - 158), _FINGER_PX)
        else:
            _limb(image, (x, y - 8), (x - 3, y + bent_px), _FINGER_PX)
    _limb(image, (166, 336), (232, 308), 1.05 * _FINGER_PX)
    image = cv2.GaussianBlur(image, (0, 0), 2.3)
    turn = cv2.getRotationMatrix2D((240, 240), -4.3, 0.94)
    return np.ascontiguousarray(cv2.warpAffine(image, turn, (_SIDE_PX, _SIDE_PX), borderValue=_BACKGROUND))


def _limb(image: Pixels, start: tuple[float, float], end: tuple[float, float], width_px: float) -> None:
    """A rounded bar, shaded like a cylinder that is lit from the left."""
    for share in np.linspace(1, 0, 14):
        shift = np.array([0.06 * width_px * (1 - share), 0])
        points = [tuple(np.subtract(point, shift).astype(int).tolist()) for point in (start, end)]
        width = max(1, int(width_px * (0.15 + 0.85 * share)))
        cv2.line(image, *points, _shade(0.62 + 0.42 * (1 - share) ** 0.6), width, cv2.LINE_AA)


def _back_of_the_hand(image: Pixels) -> None:
    corners = np.array([(166, 252), (318, 260), (298, 364), (185, 364)])
    middle = corners.mean(axis=0)
    for share in np.linspace(1, 0, 14):
        smaller = (middle + (corners - middle) * (0.3 + 0.7 * share)).astype(np.int32)
        colour = _shade(0.7 + 0.34 * (1 - share) ** 0.5)
        cv2.fillPoly(image, [smaller], colour, cv2.LINE_AA)
        cv2.polylines(image, [smaller], True, colour, max(1, int(26 * share)), cv2.LINE_AA)


def _shade(factor: float) -> tuple[int, ...]:
    return tuple(int(min(255.0, channel)) for channel in _SKIN * factor)
