"""Key frames of pictures and animations, by Pillow."""

from collections.abc import Iterator
from functools import partial
from io import BytesIO

from PIL import Image

from streamapp.errors import MediaError
from streamapp.media import Frame, KeyFrameSelection
from streamapp.media.exif_orientation import orientation, swaps_sides
from streamapp.media.frame_count import frame_count, gif_frame_count
from streamapp.media.key_frames import KeyFrames, Shown
from streamapp.media.limits import Limits
from streamapp.media.rendering import draft_size, look, render
from streamapp.media.sniff import has_meta, has_moov
from streamapp.media.structure import check_structure
from streamapp.reasons import Reason

# One parser for each media type: what is not named here is never run.
_PILLOW_FORMATS = {
    "image/jpeg": "JPEG",
    "image/png": "PNG",
    "image/gif": "GIF",
    "image/webp": "WEBP",
    "image/bmp": "BMP",
    "image/avif": "AVIF",
    "image/tiff": "TIFF",
}
_HEIF = ("image/heic", "image/heif")
# JPEG is not here: the further images of a multi-picture JPEG are previews and gain maps. Nor is TIFF, of
# which viewers show the first page, nor HEIC: its other pictures are none that a viewer would come to show.
_ANIMATED = ("image/png", "image/gif", "image/webp", "image/avif")

# What cameras, scanners and office programs write. The rest of libtiff's decoders is attack surface.
_TIFF_COMPRESSIONS = (
    "raw",
    "packbits",
    "tiff_lzw",
    "tiff_adobe_deflate",
    "tiff_deflate",
    "jpeg",
    "tiff_ccitt",
    "group3",
    "group4",
)
_TIFF_TILE_WIDTH, _TIFF_TILE_LENGTH = 322, 323

# Browsers show a frame of at most 10 ms for 100 ms. To believe a length of 0 would stop the clock.
_SHORTEST_FRAME_MS = 10
_DEFAULT_FRAME_MS = 100

# An animation may decode to this many times the pixels of the largest still, and to this many frames (a
# minute of the fastest that browsers show): seconds of CPU, not hours.
_ANIMATION_PIXELS_FACTOR = 8
_ANIMATION_FRAMES = 3000


def read_image(content: bytes, media_type: str, limits: Limits) -> KeyFrameSelection:
    """Decode a picture, or an animation to its key frames, one frame at a time.

    Raises:
        MediaError: too_many_pixels, broken_file or no_key_frame.
        Exception: whatever else Pillow raises on a broken file.
    """
    check_structure(content, media_type)
    if media_type == "image/gif" and not gif_frame_count(content):
        raise MediaError(Reason.NO_KEY_FRAME, "The GIF ends before its first image.")
    if media_type == "image/avif" and has_moov(content):
        return _avif_sequence(content, limits)
    with _open(content, media_type) as image:
        width_px, height_px = image.size
        _check_size(image, limits)
        if media_type == "image/tiff":
            _check_tiff(image, limits)
        if media_type == "image/jpeg":
            # Decodes at 1/2, 1/4 or 1/8 of the size. Never asked of a HEIC: it would give its thumbnail.
            image.draft(None, draft_size(image.size, limits.frame_side_px))
        count = frame_count(content, media_type, image) if media_type in _ANIMATED else 1
        frames, is_complete = _animation(image, count, limits) if count > 1 else (_still(image, limits), True)
        if swaps_sides(orientation(image)):
            width_px, height_px = height_px, width_px
    return KeyFrameSelection(width_px, height_px, frames, is_complete)


def _avif_sequence(content: bytes, limits: Limits) -> KeyFrameSelection:
    """The key frames of the track, and of the still picture for viewers that know no animation.

    libavif takes the one or the other by the major brand, which need not be what other viewers go by.
    """
    with _open(_with_major_brand(content, b"avis"), "image/avif") as image:
        _check_size(image, limits)
        count = frame_count(content, "image/avif", image)
        if not has_meta(content):
            frames, is_complete = _animation(image, count, limits)
        else:
            with _open(_with_major_brand(content, b"avif"), "image/avif") as still:
                _check_size(still, limits)
                frames, is_complete = _animation(image, count, limits, still)
        width_px, height_px = image.size
        if swaps_sides(orientation(image)):
            width_px, height_px = height_px, width_px
    return KeyFrameSelection(width_px, height_px, frames, is_complete)


def _with_major_brand(content: bytes, brand: bytes) -> bytes:
    return content[:8] + brand + content[12:]


def _open(content: bytes, media_type: str) -> Image.Image:
    if media_type in _HEIF:
        # Imported when the first one comes, because most processes never see one.
        from streamapp.media.heif import open_heif

        return open_heif(content)
    image = Image.open(BytesIO(content), formats=[_PILLOW_FORMATS[media_type]])
    # When it loads a TIFF, Pillow turns it also by an orientation that is only there.
    image.info.pop("xmp", None)
    return image


def _check_size(image: Image.Image, limits: Limits) -> None:
    if image.width * image.height > limits.max_pixels:
        raise MediaError(
            Reason.TOO_MANY_PIXELS,
            f"The picture has {image.width} x {image.height} pixels; {limits.max_pixels} are allowed.",
        )


def _check_tiff(image: Image.Image, limits: Limits) -> None:
    """Refuse compressions that nobody uses, and tiles that are larger than any picture."""
    compression = image.info.get("compression", "raw")
    if compression not in _TIFF_COMPRESSIONS:
        raise MediaError(Reason.UNKNOWN_FORMAT, f"TIFF's compression {compression!r} is not read here.")
    tags = image.getexif()
    tile_px = int(tags.get(_TIFF_TILE_WIDTH, 1)) * int(tags.get(_TIFF_TILE_LENGTH, 1))
    if tile_px > limits.max_pixels:
        raise MediaError(
            Reason.TOO_MANY_PIXELS,
            f"The TIFF's tiles have {tile_px} pixels; {limits.max_pixels} are allowed.",
        )


def _still(image: Image.Image, limits: Limits) -> tuple[Frame, ...]:
    image.load()
    # Some HEIC files turn out larger than they said.
    _check_size(image, limits)
    return (Frame(render(image, limits.frame_side_px)),)


def _animation(
    image: Image.Image, count: int, limits: Limits, still: Image.Image | None = None
) -> tuple[tuple[Frame, ...], bool]:
    """The key frames of a file of several frames, and whether no limit cut the look at it short.

    Args:
        still: what is shown in the animation's place where that is not known.
    """
    key_frames = KeyFrames(limits.max_key_frames, limits.max_media_seconds)
    if still is not None:
        at_no_time = Shown(0, 0, 0)
        key_frames.offer(at_no_time, look(still), partial(_frame, still, limits, at_no_time))
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
