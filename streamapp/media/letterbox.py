"""Cuts black and white bars off a frame, so that models see the picture between them."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from streamapp.media import Frame, Pixels

# Of 255: what compression leaves of a black and of a white line.
_BLACK_UP_TO = 20
_WHITE_FROM = 235

# Shares of a side: thinner bars mislead nobody, and a picture that is nearly all bar may be no picture.
_THINNEST_BAR = 0.02
_LEAST_PICTURE = 0.25


def trimmed(frame: Frame) -> Frame:
    """The frame without the black or white bars at its edges; the frame itself where there are none.

    A bar is made of whole lines from the edge on, all of whose pixels are black, or white. A frame of which
    less than a quarter of a side would be left stays as it is.

    Args:
        frame: with its scale.
    """
    top, bottom = _bars(frame.pixels, axis=0)
    left, right = _bars(frame.pixels[top:bottom], axis=1)
    height, width = frame.pixels.shape[:2]
    if (top, bottom, left, right) == (0, height, 0, width):
        return frame
    if bottom - top < _LEAST_PICTURE * height or right - left < _LEAST_PICTURE * width:
        return frame
    pixels = np.ascontiguousarray(frame.pixels[top:bottom, left:right])
    return replace(frame, pixels=pixels, origin_px=(left * frame.scale, top * frame.scale))


def _bars(pixels: Pixels, axis: int) -> tuple[int, int]:
    """Where the picture between the bars begins and ends, in lines along an axis."""
    others = (1 - axis, 2)
    lines = np.stack([pixels.max(axis=others) <= _BLACK_UP_TO, pixels.min(axis=others) >= _WHITE_FROM])
    count = pixels.shape[axis]
    before, after = _leading(lines), _leading(lines[:, ::-1])
    if before == count:
        return 0, count
    thinnest = max(1.0, _THINNEST_BAR * count)
    return (before if before >= thinnest else 0), (count - after if after >= thinnest else count)


def _leading(lines: npt.NDArray[np.bool_]) -> int:
    """How many lines at the beginning are all black, or all white, from ``(2, N)`` of black and of white."""
    return max(len(kind) if kind.all() else int(np.argmin(kind)) for kind in lines)
