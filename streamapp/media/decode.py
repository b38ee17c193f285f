"""From a file's bytes to its key frames; synchronous, made for a thread or a process of its own.

A file is told by its bytes, and one reader is run on it: Pillow on pictures and animations, pillow-heif on
HEIC, PyAV on videos. Everything comes out upright, in sRGB, as 8-bit RGB.

What is not done: tone mapping of HDR pictures and videos (their highlights look flat), gain maps, which add
light to a picture on HDR screens, and the conversion of wide colours that are named by a code (NCLX, a PNG's
cICP or cHRM, a video's primaries) and not by an ICC profile.
"""

import hashlib
from collections.abc import Callable
from dataclasses import replace

from PIL import Image

from streamapp.errors import MediaError
from streamapp.media import Frame, KeyFrameSelection, Picture
from streamapp.media.images import read_image
from streamapp.media.letterbox import trimmed
from streamapp.media.limits import Limits
from streamapp.media.messages import one_line
from streamapp.media.pillow_warnings import silenced
from streamapp.media.polyglot import refuse_polyglots
from streamapp.media.sniff import sniff
from streamapp.reasons import Reason

__all__ = ["Limits", "decode"]


def decode(content: bytes, limits: Limits) -> Picture:
    """Decode a file to its key frames, one frame at a time.

    An animation or a video is decoded whole or refused, however late it is broken; only the limits cut it
    short, and then the picture says so.

    Raises:
        MediaError: empty_file, unknown_format, polyglot, too_many_pixels, decode_memory, broken_file or
            no_key_frame; never another class, whatever the bytes are.
    """
    if not content:
        raise MediaError(Reason.EMPTY_FILE, "The file has no bytes.")
    media_type = sniff(content)
    if media_type is None:
        raise MediaError(Reason.UNKNOWN_FORMAT, f"The file begins with {content[:12].hex(' ')}.")
    refuse_polyglots(content)
    read = _reader(media_type)
    with silenced():
        try:
            found = read(content, media_type, limits)
            return _picture(content, media_type, found, limits)
        except MediaError:
            raise
        except Exception as exc:
            raise _translated(exc, media_type) from exc


def _reader(media_type: str) -> Callable[[bytes, str, Limits], KeyFrameSelection]:
    if media_type.startswith("video/") or media_type.endswith("-sequence"):
        # Imported when the first one comes, because most processes never see one.
        from streamapp.media.video import read_video

        return read_video
    return read_image


def _picture(content: bytes, media_type: str, found: KeyFrameSelection, limits: Limits) -> Picture:
    longer_side_px = max(found.width_px, found.height_px)
    frames = tuple(_with_scale(frame, longer_side_px) for frame in found.frames)
    return Picture(
        sha256=hashlib.sha256(content).hexdigest(),
        media_type=media_type,
        size_bytes=len(content),
        width_px=found.width_px,
        height_px=found.height_px,
        frames=tuple(trimmed(frame) for frame in frames) if limits.trim_letterbox else frames,
        frames_complete=found.is_complete,
    )


def _with_scale(frame: Frame, longer_side_px: int) -> Frame:
    return replace(frame, scale=longer_side_px / max(frame.pixels.shape[:2]))


def _translated(exc: Exception, media_type: str) -> MediaError:
    """What a decoder raised, as the reason that the row gives."""
    if isinstance(exc, Image.DecompressionBombError):
        return MediaError(Reason.TOO_MANY_PIXELS, one_line(str(exc)))
    message = one_line(f"{media_type}: {type(exc).__name__}: {exc}")[:200]
    if isinstance(exc, MemoryError) or _says_out_of_memory(exc):
        return MediaError(Reason.DECODE_MEMORY, message)
    # Pillow promises no closed set: SyntaxError, ValueError, struct.error, zlib.error and others.
    return MediaError(Reason.BROKEN_FILE, message)


def _says_out_of_memory(exc: Exception) -> bool:
    """Whether the words of libheif, libavif or one of Pillow's decoders say so; they have no class for it."""
    text = str(exc).lower()
    # libheif's own limits on a file's structure, which it calls an allocation error: no memory was asked for.
    if "security limit exceeded" in text:
        return False
    return any(words in text for words in ("out of memory", "memory allocation", "cannot allocate memory"))
