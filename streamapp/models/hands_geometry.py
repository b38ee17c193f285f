"""Squares of a picture: cutting one out to a network's input, and leading its points back. Pure functions."""

from dataclasses import dataclass
from math import cos, sin

import cv2
import numpy as np
import numpy.typing as npt

from streamapp.media import Pixels

Tensor = npt.NDArray[np.float32]
Points = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Region:
    """A square of a picture; it may be rotated and may reach beyond the picture's edges.

    Attributes:
        centre_x_px, centre_y_px: in pixels of the picture, y pointing down.
        side_px: of the square, in pixels of the picture.
        rotation_rad: clockwise; the square's own "up" is the picture's "up" turned by it.
    """

    centre_x_px: float
    centre_y_px: float
    side_px: float
    rotation_rad: float = 0.0

    def to_picture(self, input_side_px: int) -> npt.NDArray[np.float64]:
        """The map from a network's input to the picture: ``(2, 3)``, applied to columns ``(x, y, 1)``."""
        scale = self.side_px / input_side_px
        along, across = scale * cos(self.rotation_rad), scale * sin(self.rotation_rad)
        half = input_side_px / 2
        return np.array(
            [
                [along, -across, self.centre_x_px - (along - across) * half],
                [across, along, self.centre_y_px - (across + along) * half],
            ]
        )

    def place(self, points: Points, input_side_px: int) -> Points:
        """Lead points ``(..., 2)`` of a network's input, in its pixels, back to pixels of the picture."""
        matrix = self.to_picture(input_side_px)
        placed: Points = points @ matrix[:, :2].T + matrix[:, 2]
        return placed


def cut(pixels: Pixels, region: Region, input_side_px: int, *, repeat_edges: bool) -> Tensor:
    """Cut a region out of a picture and scale it to a network's input.

    Bilinear without a filter before scaling down, as in MediaPipe, for whose input the networks were trained.

    Args:
        pixels: ``(H, W, 3)`` uint8.
        region: what to cut.
        input_side_px: side of the input.
        repeat_edges: beyond the picture its edge pixels are repeated; otherwise it is black there.

    Returns:
        ``(input_side_px, input_side_px, 3)`` float32 in [0, 1].
    """
    square = cv2.warpAffine(
        pixels,
        region.to_picture(input_side_px),
        (input_side_px, input_side_px),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE if repeat_edges else cv2.BORDER_CONSTANT,
    )
    return np.multiply(square, np.float32(1 / 255), dtype=np.float32)


def whole(width_px: int, height_px: int) -> Region:
    """The smallest square around a picture, with the picture in its middle."""
    return Region(width_px / 2, height_px / 2, max(width_px, height_px))
