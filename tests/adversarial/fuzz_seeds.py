"""Files that fuzzing begins with: small, in order, and different inside within each format."""

from collections.abc import Callable
from functools import cache, partial

from adversarial import crafted_pictures as pictures
from adversarial import crafted_videos as videos
from adversarial.crafted_pictures import animated, blocks, saved
from PIL import Image


def _transparent() -> Image.Image:
    image = blocks(mode="RGBA")
    image.putalpha(blocks(1, mode="L"))
    return image


def _palette(**options: int) -> bytes:
    return saved(blocks().quantize(16), "PNG", **options)


SEEDS: dict[str, tuple[Callable[[], bytes], ...]] = {
    "jpeg": (
        pictures.jpeg,
        partial(pictures.jpeg, progressive=True),
        lambda: saved(blocks(mode="CMYK"), "JPEG"),
        lambda: saved(blocks(), "JPEG", icc_profile=pictures.srgb(), exif=_exif()),
    ),
    "png": (
        pictures.png,
        partial(_palette, transparency=3),
        lambda: saved(blocks(), "PNG", icc_profile=pictures.srgb(), exif=_exif()),
        lambda: saved(Image.new("I;16", (24, 16), 40000), "PNG"),
    ),
    "apng": (partial(animated, "PNG", 3), partial(animated, "PNG", 3, disposal=2, blend=1)),
    "gif": (pictures.gif, partial(animated, "GIF", 4), partial(animated, "GIF", 3, disposal=2)),
    "webp": (
        pictures.webp,
        lambda: saved(blocks(), "WEBP", lossless=True),
        lambda: saved(_transparent(), "WEBP", quality=80, exif=_exif()),
    ),
    "webp-animated": (partial(animated, "WEBP", 3), partial(animated, "WEBP", 3, lossless=True)),
    "avif": (
        pictures.avif,
        lambda: saved(_transparent(), "AVIF", quality=60, speed=10),
        partial(animated, "AVIF", 3, speed=10),
    ),
    "heic": (pictures.heic, partial(pictures.heic, is_transparent=True)),
    "bmp": (pictures.bmp, lambda: saved(blocks().quantize(16), "BMP")),
    "tiff": (
        pictures.tiff,
        partial(pictures.tiff, compression="tiff_lzw"),
        partial(pictures.tiff, compression="tiff_adobe_deflate"),
        partial(pictures.tiff, compression="jpeg"),
    ),
    "mp4": (partial(videos.clip, "mp4", tuple(range(6))), partial(videos.clip, "mp4", (0, 40))),
    "webm": (partial(videos.clip, "webm", tuple(range(6))), partial(videos.clip, "webm", is_live=True)),
    "mkv": (partial(videos.clip, "matroska", tuple(range(6))),),
    "mov": (partial(videos.clip, "mov", tuple(range(6))),),
}


def _exif() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


@cache
def seeds(kind: str) -> tuple[bytes, ...]:
    """A format's seeds."""
    return tuple(make() for make in SEEDS[kind])
