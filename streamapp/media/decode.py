"""From a file's bytes to its key frames; synchronous, made for a thread."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from io import BytesIO

from PIL import Image

from streamapp.errors import MediaError
from streamapp.media import Frame, Picture
from streamapp.media.frame_count import frame_count, gif_frame_count
from streamapp.media.key_frames import KeyFrames, Shown
from streamapp.media.pillow_warnings import silenced
from streamapp.media.rendering import draft_size, look, orientation, render, swaps_sides
from streamapp.media.sniff import sniff
from streamapp.reasons import Reason
from streamapp.settings import Settings

# One parser for each media type: what is not named here is never run.
_PILLOW_FORMATS = {
    "image/jpeg": "JPEG",
    "image/png": "PNG",
    "image/gif": "GIF",
    "image/webp": "WEBP",
    "image/bmp": "BMP",
    "image/avif": "AVIF",
}
# JPEG is not here: the further images of a multi-picture JPEG are previews and gain maps.
_ANIMATED = ("image/png", "image/gif", "image/webp", "image/avif")

# Browsers show a frame of at most 10 ms for 100 ms. To believe a length of 0 would stop the clock.
_SHORTEST_FRAME_MS = 10
_DEFAULT_FRAME_MS = 100

# An animation may decode to this many times the pixels of the largest still, and to this many frames (a
# minute of the fastest that browsers show): seconds of CPU, not hours.
_ANIMATION_PIXELS_FACTOR = 8
_ANIMATION_FRAMES = 3000


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of a file is decoded.

    Attributes:
        max_pixels: of a picture or an animation's canvas, width x height. Pillow's own bound, about
            179 million, stays in force above it.
        frame_side_px: longer side of the frames that come out.
        max_key_frames: of an animation.
        max_media_seconds: play time from the start that is looked at, where there are more different
            frames than ``max_key_frames``.
    """

    max_pixels: int = 64_000_000
    frame_side_px: int = 1280
    max_key_frames: int = 8
    max_media_seconds: float = 60.0

    @classmethod
    def from_settings(cls, settings: Settings) -> "Limits":
        """The limits under "Decode" of the settings."""
        return cls(
            settings.max_pixels, settings.frame_side_px, settings.max_key_frames, settings.max_media_seconds
        )


def decode(content: bytes, limits: Limits) -> Picture:
    """Decode a file to its key frames, one frame at a time.

    An animation is decoded whole or refused, however late it is broken; only the limits cut it short,
    and then the picture says so.

    Raises:
        MediaError: empty_file, unknown_format, too_many_pixels, broken_file or no_key_frame; never
            another class, whatever the bytes are.
    """
    if not content:
        raise MediaError(Reason.EMPTY_FILE, "The file has no bytes.")
    media_type = sniff(content)
    if media_type is None:
        raise MediaError(Reason.UNKNOWN_FORMAT, f"The file begins with {content[:12].hex(' ')}.")
    with silenced():
        try:
            return _decode(content, media_type, limits)
        except MediaError:
            raise
        except Image.DecompressionBombError as exc:
            raise MediaError(Reason.TOO_MANY_PIXELS, str(exc)) from exc
        except Exception as exc:
            # Pillow promises no closed set: SyntaxError, ValueError, struct.error, zlib.error and others.
            raise MediaError(Reason.BROKEN_FILE, f"{media_type}: {type(exc).__name__}: {exc}"[:200]) from exc


def _decode(content: bytes, media_type: str, limits: Limits) -> Picture:
    if media_type == "image/gif" and not gif_frame_count(content):
        raise MediaError(Reason.NO_KEY_FRAME, "The GIF ends before its first image.")
    with Image.open(BytesIO(content), formats=[_PILLOW_FORMATS[media_type]]) as image:
        width_px, height_px = image.size
        _check_size(image, limits)
        # Decodes large JPEGs at 1/2, 1/4 or 1/8 of their size; no other format heeds it.
        image.draft(None, draft_size(image.size, limits.frame_side_px))
        count = frame_count(content, media_type, image) if media_type in _ANIMATED else 1
        frames, is_complete = _animation(image, count, limits) if count > 1 else (_still(image, limits), True)
        if swaps_sides(orientation(image)):
            width_px, height_px = height_px, width_px
    return Picture(
        sha256=hashlib.sha256(content).hexdigest(),
        media_type=media_type,
        size_bytes=len(content),
        width_px=width_px,
        height_px=height_px,
        frames=tuple(_with_scale(frame, max(width_px, height_px)) for frame in frames),
        frames_complete=is_complete,
    )


def _check_size(image: Image.Image, limits: Limits) -> None:
    if image.width * image.height > limits.max_pixels:
        raise MediaError(
            Reason.TOO_MANY_PIXELS,
            f"The picture has {image.width} x {image.height} pixels; {limits.max_pixels} are allowed.",
        )


def _still(image: Image.Image, limits: Limits) -> tuple[Frame, ...]:
    return (Frame(render(image, limits.frame_side_px)),)


def _animation(image: Image.Image, count: int, limits: Limits) -> tuple[tuple[Frame, ...], bool]:
    """The key frames of a file of several frames, and whether no limit cut the look at it short."""
    key_frames = KeyFrames(limits.max_key_frames, limits.max_media_seconds)
    seen = 0
    for shown in _walk(image, min(count, _ANIMATION_FRAMES), limits):
        key_frames.offer(shown, look(image), partial(_frame, image, limits, shown))
        seen += 1
        if key_frames.is_past_its_time:
            break
    frames, is_complete = key_frames.selected()
    return frames, is_complete and seen == count


def _walk(image: Image.Image, count: int, limits: Limits) -> Iterator[Shown]:
    """Load one frame after the other and say when it is shown, until the budget of pixels is spent."""
    start_ms = 0
    pixels_left = limits.max_pixels * _ANIMATION_PIXELS_FACTOR
    for index in range(count):
        image.seek(index)
        # A later frame of a GIF can enlarge the canvas.
        _check_size(image, limits)
        # WebP and AVIF know a frame's length only when it is loaded.
        image.load()
        shown = Shown(index, start_ms, _length_ms(image))
        yield shown
        start_ms = shown.end_ms
        pixels_left -= image.width * image.height
        if pixels_left <= 0:
            return


def _length_ms(image: Image.Image) -> int:
    length_ms = round(image.info.get("duration") or 0)
    return length_ms if length_ms > _SHORTEST_FRAME_MS else _DEFAULT_FRAME_MS


def _frame(image: Image.Image, limits: Limits, shown: Shown) -> Frame:
    return Frame(render(image, limits.frame_side_px), shown.index, shown.start_ms / 1000)


def _with_scale(frame: Frame, longer_side_px: int) -> Frame:
    return Frame(frame.pixels, frame.index, frame.time_s, longer_side_px / max(frame.pixels.shape[:2]))
