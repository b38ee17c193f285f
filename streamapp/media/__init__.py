"""From bytes to frames: what a file is, its pixels, and the frames worth looking at."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One key frame, as every model gets it.

    Attributes:
        pixels: ``(H, W, 3)`` uint8, RGB in sRGB, upright, alpha composited, C-contiguous.
        index: the frame's number in the file, 0 for a still.
        time_s: seconds from the start of the animation or the video, 0.0 for a still.
        scale: file pixels per pixel of ``pixels`` (1.0 where nothing was scaled down).
        origin_px: left and top of the frame in the upright file, in its pixels; not 0.0 where bars were
            cut off.
    """

    pixels: Pixels
    index: int = 0
    time_s: float = 0.0
    scale: float = 1.0
    origin_px: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class KeyFrameSelection:
    """What one of the readers finds in a file.

    Attributes:
        width_px, height_px: of the upright picture, before any scaling down.
        frames: at least one, in the order of time, upright; their ``scale`` is not set yet.
        is_complete: whether no limit cut the look at the file short.
    """

    width_px: int
    height_px: int
    frames: tuple[Frame, ...]
    is_complete: bool


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A decoded file.

    Attributes:
        sha256: hex digest of the file's bytes.
        media_type: told from the bytes, ``image/png``, ``video/mp4``.
        size_bytes: length of the file.
        width_px, height_px: of the upright picture, before any scaling down.
        frames: at least one key frame, in the order of time.
        frames_complete: whether these are all frames that the rules ask for; false where a limit on
            frames, seconds or pixels cut the look at an animation or a video short.
    """

    sha256: str
    media_type: str
    size_bytes: int
    width_px: int
    height_px: int
    frames: tuple[Frame, ...]
    frames_complete: bool = True

    def without_pixels(self) -> "Picture":
        """The same picture with frames of no pixels: what a row says of it, without the memory."""
        return replace(self, frames=tuple(replace(frame, pixels=_NO_PIXELS) for frame in self.frames))


_NO_PIXELS: Pixels = np.empty((0, 0, 3), np.uint8)
