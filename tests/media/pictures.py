"""Real files for the tests: encoded pictures whose pixels are known."""

import struct
import zlib
from io import BytesIO
from typing import Any

import numpy as np
import pillow_heif
from PIL import Image


def encoded(image: Image.Image, pillow_format: str, **options: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, pillow_format, **options)
    return buffer.getvalue()


def heic(image: Image.Image, **options: Any) -> bytes:
    buffer = BytesIO()
    pillow_heif.from_pillow(image).save(buffer, **options)
    return buffer.getvalue()


def noise(seed: int, width: int = 64, height: int = 64, block_px: int = 8) -> Image.Image:
    """Coloured blocks; two seeds have next to no structural similarity."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (-(-height // block_px), -(-width // block_px), 3), dtype=np.uint8)
    image = Image.fromarray(blocks).resize(
        (blocks.shape[1] * block_px, blocks.shape[0] * block_px), Image.Resampling.NEAREST
    )
    return image.crop((0, 0, width, height))


def quadrants() -> Image.Image:
    """Red, green, blue and black quarters, in reading order; shows every wrong turn."""
    image = Image.new("RGB", (32, 16), "black")
    image.paste((255, 0, 0), (0, 0, 16, 8))
    image.paste((0, 255, 0), (16, 0, 32, 8))
    image.paste((0, 0, 255), (0, 8, 16, 16))
    return image


def animation(
    images: list[Image.Image], pillow_format: str, duration: int | list[int], **options: Any
) -> bytes:
    if pillow_format in ("WEBP", "AVIF"):
        options = {"quality": 90, **options}
    return encoded(
        images[0], pillow_format, save_all=True, append_images=images[1:], duration=duration, **options
    )


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of_size(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds no pixels of it."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = png_chunk(b"IDAT", zlib.compress(bytes(100)))
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + body + png_chunk(b"IEND", b"")
