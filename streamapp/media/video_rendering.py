"""From one decoded video frame to the pixels that models see: upright, 8 bits, RGB."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import cast

import numpy as np
from av.buffer import Buffer
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace

from streamapp.media import Pixels
from streamapp.media.display_matrix import Matrix
from streamapp.media.similarity import SIDE_PX

# AVCOL_SPC_UNSPECIFIED (libavutil/pixfmt.h).
_UNSPECIFIED_COLOURS = 2
# Of an unnamed size, larger pictures are in HD's colours and smaller ones in SD's, as players take them.
_HD_WIDTH_PX, _HD_HEIGHT_PX = 1280, 577

# Pixels that are wider or narrower than this are a broken file's.
_WIDEST_PIXEL = 64


@dataclass(frozen=True, slots=True)
class Display:
    """How a player shows the frames of a video: turned by right angles, and of square pixels.

    Attributes:
        swaps_sides: rows become columns; this comes before any mirroring.
        mirrors_x: left and right change places.
        mirrors_y: top and bottom do.
        pixel_aspect: width of a pixel by its height.
    """

    swaps_sides: bool = False
    mirrors_x: bool = False
    mirrors_y: bool = False
    pixel_aspect: Fraction = Fraction(1)

    @classmethod
    def of(cls, frame: VideoFrame, matrix: Matrix | None, pixel_aspect: Fraction | None) -> "Display":
        """The display of a video with this first frame; turned by the matrix, to the nearest right angle.

        Args:
            matrix: the file's own; where there is none, what the decoder says of the frame counts.
        """
        if not pixel_aspect or not Fraction(1, _WIDEST_PIXEL) <= pixel_aspect <= _WIDEST_PIXEL:
            pixel_aspect = Fraction(1)
        a, b, c, d = matrix or _frame_matrix(frame)
        if abs(b) + abs(c) > abs(a) + abs(d):
            return cls(True, c < 0, b < 0, pixel_aspect)
        return cls(False, a < 0, d < 0, pixel_aspect)

    def size_px(self, frame: VideoFrame) -> tuple[int, int]:
        """Width and height as shown; pixels are made square by making one side longer."""
        width, height = frame.width, frame.height
        if self.pixel_aspect > 1:
            width = round(width * self.pixel_aspect)
        else:
            height = round(height / self.pixel_aspect)
        return (height, width) if self.swaps_sides else (width, height)

    def render(self, frame: VideoFrame, side_px: int) -> Pixels:
        """Render a frame as it is shown, scaled down so that the longer side is at most ``side_px``.

        Returns:
            ``(H, W, 3)`` uint8, RGB, C-contiguous and writable.
        """
        width, height = self.size_px(frame)
        scale = min(1.0, side_px / max(width, height))
        width, height = max(1, round(width * scale)), max(1, round(height * scale))
        if self.swaps_sides:
            width, height = height, width
        pixels = _rgb(frame, width, height, "BICUBIC").to_ndarray()
        if self.swaps_sides:
            pixels = pixels.swapaxes(0, 1)
        pixels = pixels[:: -1 if self.mirrors_y else 1, :: -1 if self.mirrors_x else 1]
        return np.array(pixels, dtype=np.uint8, order="C")


def video_look(frame: VideoFrame) -> Pixels:
    """What a frame looks like from afar, to compare it with other frames of the file; not upright.

    Returns:
        ``(64, 64, 3)`` uint8.
    """
    return np.array(_rgb(frame, SIDE_PX, SIDE_PX, "AREA").to_ndarray(), dtype=np.uint8)


def _frame_matrix(frame: VideoFrame) -> Matrix:
    # Of a tiny copy, because PyAV's frames and their side data hold each other until the next
    # collection of garbage. Its types know one kind of side data only.
    side_data = cast("Mapping[str, Buffer]", _rgb(frame, 2, 2, "POINT").side_data)
    found = side_data.get("DISPLAYMATRIX")
    if found is None:
        return 1, 0, 0, 1
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(found))
    return a, b, c, d


def _rgb(frame: VideoFrame, width: int, height: int, interpolation: str) -> VideoFrame:
    is_hd = frame.width >= _HD_WIDTH_PX or frame.height >= _HD_HEIGHT_PX
    is_unnamed = frame.colorspace == _UNSPECIFIED_COLOURS
    return frame.reformat(
        width,
        height,
        "rgb24",
        src_colorspace=Colorspace.ITU709 if is_unnamed and is_hd else None,
        interpolation=interpolation,
        threads=1,
    )
