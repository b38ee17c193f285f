"""How much of a file is decoded."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

# Only for the checker: decoder processes start faster without what settings import.
if TYPE_CHECKING:
    from streamapp.settings import Settings


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of a file is decoded.

    Attributes:
        max_pixels: of a picture, an animation's canvas or a video's frame, width x height. Pillow's own
            bound, about 179 million, stays in force above it.
        frame_side_px: longer side of the frames that come out.
        max_key_frames: of an animation or a video.
        max_media_seconds: play time from the start that is looked at, where there are more different
            frames than ``max_key_frames``.
        trim_letterbox: cut black or white bars off the frames that come out.
    """

    max_pixels: int = 64_000_000
    frame_side_px: int = 1280
    max_key_frames: int = 8
    max_media_seconds: float = 60.0
    trim_letterbox: bool = False

    @classmethod
    def from_settings(cls, settings: "Settings") -> "Limits":
        """The limits under "Decode" of the settings."""
        return cls(
            max_pixels=settings.max_pixels,
            frame_side_px=settings.frame_side_px,
            max_key_frames=settings.max_key_frames,
            max_media_seconds=settings.max_media_seconds,
            trim_letterbox=settings.trim_letterbox,
        )
