"""Builders of pictures: ordinary ones in every format, and parts by which they are made hostile."""

import struct
import zlib
from collections.abc import Callable, Iterable
from functools import cache
from io import BytesIO
from typing import Any

import numpy as np
import pillow_heif
from PIL import Image, ImageCms

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def blocks(seed: int = 0, width: int = 96, height: int = 64, mode: str = "RGB") -> Image.Image:
    """Coloured blocks with noise: compresses to a few kilobytes, the same on every run."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (-(-height // 8), -(-width // 8), 3), dtype=np.uint8)
    pixels = coarse.repeat(8, 0).repeat(8, 1)[:height, :width] ^ rng.integers(
        0, 8, (height, width, 3), dtype=np.uint8
    )
    return Image.fromarray(pixels).convert(mode)


def saved(image: Image.Image, pillow_format: str, **options: Any) -> bytes:
    """The image as a file."""
    buffer = BytesIO()
    image.save(buffer, pillow_format, **options)
    return buffer.getvalue()


@cache
def jpeg(**options: Any) -> bytes:
    """An ordinary JPEG."""
    return saved(blocks(), "JPEG", quality=90, **options)


@cache
def png() -> bytes:
    """An ordinary PNG."""
    return saved(blocks(), "PNG")


@cache
def gif(frames: int = 1) -> bytes:
    """An ordinary GIF; of several frames, each shown for a second."""
    return animated("GIF", frames)


@cache
def webp() -> bytes:
    """An ordinary WebP."""
    return saved(blocks(), "WEBP", quality=90)


@cache
def avif() -> bytes:
    """An ordinary AVIF."""
    return saved(blocks(), "AVIF", quality=80, speed=10)


@cache
def bmp() -> bytes:
    """An ordinary BMP."""
    return saved(blocks(), "BMP")


@cache
def tiff(**options: Any) -> bytes:
    """An ordinary TIFF, not compressed unless an option says so."""
    return saved(blocks(), "TIFF", **options)


@cache
def heic(*, is_transparent: bool = False) -> bytes:
    """An ordinary HEIC."""
    image = blocks()
    if is_transparent:
        image.putalpha(blocks(1, mode="L"))
    buffer = BytesIO()
    pillow_heif.from_pillow(image).save(buffer, quality=80)
    return buffer.getvalue()


def animated(pillow_format: str, frames: int, duration: int = 1000, **options: Any) -> bytes:
    """So many different frames."""
    first, *others = [blocks(seed) for seed in range(frames)]
    return saved(
        first, pillow_format, save_all=bool(others), append_images=others, duration=duration, **options
    )


STILLS: dict[str, Callable[[], bytes]] = {
    "JPEG": jpeg,
    "PNG": png,
    "GIF": gif,
    "WebP": webp,
    "AVIF": avif,
    "HEIC": heic,
    "BMP": bmp,
    "TIFF": tiff,
}


def cut(make: Callable[[], bytes], tenths: int) -> Callable[[], bytes]:
    """The file's first so many tenths."""

    def content() -> bytes:
        whole = make()
        return whole[: len(whole) * tenths // 10]

    return content


def patched(content: bytes, *edits: tuple[int, bytes]) -> bytes:
    """The file with bytes put over others, each at its offset."""
    changed = bytearray(content)
    for offset, data in edits:
        changed[offset : offset + len(data)] = data
    return bytes(changed)


# PNG


def chunk(kind: bytes, data: bytes, crc: int | None = None) -> bytes:
    """A chunk, with its CRC unless another is given."""
    if crc is None:
        crc = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)


def header(width: int, height: int, depth: int = 8, colours: int = 2, interlaced: int = 0) -> bytes:
    """IHDR; colours: 0 gray, 2 RGB, 3 palette, 4 gray with alpha, 6 RGBA."""
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colours, 0, 0, interlaced))


def png_of(*chunks: bytes) -> bytes:
    """A PNG of these chunks and an end."""
    return PNG_SIGNATURE + b"".join(chunks) + chunk(b"IEND", b"")


def rows(width: int, height: int, bytes_per_pixel: int, value: int = 0x80) -> bytes:
    """IDAT of one value; compresses to next to nothing."""
    return chunk(b"IDAT", zlib.compress((b"\0" + bytes([value]) * (width * bytes_per_pixel)) * height, 1))


def png_with(*chunks: bytes, before: bytes = b"IDAT") -> bytes:
    """The ordinary PNG with further chunks."""
    content = png()
    at = content.index(before) - 4
    return content[:at] + b"".join(chunks) + content[at:]


def iccp(compressed: bytes) -> bytes:
    """An ICC profile's chunk."""
    return chunk(b"iCCP", b"profile\0\0" + compressed)


@cache
def deflated_zeros(size: int = 2**28) -> bytes:
    """So many zeros, compressed a thousandfold, without ever being in memory at once."""
    packer = zlib.compressobj(9)
    block = bytes(2**20)
    return b"".join(packer.compress(block) for _ in range(size // len(block))) + packer.flush()


# JPEG


def segment(marker: int, data: bytes) -> bytes:
    """A marker segment."""
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def jpeg_with(*segments: bytes) -> bytes:
    """The ordinary JPEG with further segments at its beginning."""
    return jpeg()[:2] + b"".join(segments) + jpeg()[2:]


def jpeg_of_size(width: int, height: int) -> bytes:
    """The ordinary JPEG whose frame header claims another size."""
    at = jpeg().index(b"\xff\xc0")
    return patched(jpeg(), (at + 5, struct.pack(">HH", height, width)))


def icc_segments(profile: bytes) -> Iterable[bytes]:
    """A profile in as many APP2 segments as it needs."""
    parts = [profile[at : at + 65000] for at in range(0, len(profile), 65000)]
    for number, part in enumerate(parts, 1):
        yield segment(0xE2, b"ICC_PROFILE\0" + bytes([number, len(parts)]) + part)


# ICC


def srgb() -> bytes:
    """An ordinary profile."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def profile_of(*tags: tuple[bytes, bytes], claimed: int | None = None) -> bytes:
    """A profile of an RGB display with these tags; it may claim to have more."""
    start = 132 + 12 * len(tags)
    table, body = b"", b""
    for name, data in tags:
        table += struct.pack(">4sII", name, start + len(body), len(data))
        body += data
    count = len(tags) if claimed is None else claimed
    head = srgb()[:128]
    content = head + struct.pack(">I", count) + table + body
    return patched(content, (0, struct.pack(">I", len(content))))


def lookup_table(grid_points: int, inputs: int = 3) -> bytes:
    """A lut8 whose grid claims grid_points ** inputs entries and has none of them."""
    identity = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    return b"mft1" + bytes(4) + bytes([inputs, 3, grid_points, 0]) + identity + bytes(256 * inputs)


# GIF


def gif_of(width: int, height: int, *images: bytes, trailer: bytes = b"\x3b") -> bytes:
    """A GIF of these images, with a palette of two colours."""
    screen = struct.pack("<HHBBB", width, height, 0x80, 0, 0)
    return b"GIF89a" + screen + b"\0\0\0\xff\xff\xff" + b"".join(images) + trailer


def gif_image(width: int = 1, height: int = 1, data: bytes = b"\x02\x02\x44\x01\x00") -> bytes:
    """One image; the data are those of one pixel."""
    return b"\x2c" + struct.pack("<HHHHB", 0, 0, width, height, 0) + data


# BMP


def bmp_of_size(width: int, height: int) -> bytes:
    """The ordinary BMP whose header claims another size."""
    return patched(bmp(), (18, struct.pack("<ii", width, height)))


# ISO-BMFF (AVIF, HEIC, MP4)


def box(kind: bytes, *parts: bytes, size: int | None = None) -> bytes:
    """A box; its length is that of its parts unless another is given."""
    data = b"".join(parts)
    return struct.pack(">I4s", len(data) + 8 if size is None else size, kind) + data


def with_claimed_size(content: bytes, width: int, height: int) -> bytes:
    """An AVIF or HEIC whose every `ispe` property claims another size."""
    changed, at = content, 0
    while (at := changed.find(b"ispe", at)) >= 0:
        changed = patched(changed, (at + 8, struct.pack(">II", width, height)))
        at += 4
    return changed
