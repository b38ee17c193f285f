"""Pictures that ask for more than they are: pixels, memory, time, metadata."""

import random
import struct
import zlib

from adversarial import crafted_pictures as crafted
from adversarial import crafted_tiffs
from adversarial.cases import Case, Content, broken, good, no_media, too_large
from adversarial.crafted_pictures import (
    chunk,
    gif_image,
    gif_of,
    header,
    jpeg_with,
    patched,
    png_of,
    png_with,
    rows,
    segment,
)

from streamapp.reasons import Reason


def _huge_exif() -> bytes:
    # 4 MB: TIFF's own format has no bound, PNG's chunk has one of 2 GB.
    return png_with(chunk(b"eXIf", b"II*\0\x08\0\0\0" + bytes(4 * 2**20)))


def _looping_exif() -> bytes:
    # A directory whose successor, and whose EXIF sub-directory, is itself.
    entry = struct.pack("<HHII", 0x8769, 4, 1, 8)
    return jpeg_with(segment(0xE1, b"Exif\0\0II*\0\x08\0\0\0\x01\0" + entry + struct.pack("<I", 8)))


def _exif_of_claims() -> bytes:
    # An orientation of 2^32 - 1 values.
    entry = struct.pack("<HHII", 0x0112, 3, 0xFFFFFFFF, 8)
    return jpeg_with(segment(0xE1, b"Exif\0\0II*\0\x08\0\0\0\x01\0" + entry + bytes(4)))


def _huge_icc() -> bytes:
    return jpeg_with(*crafted.icc_segments(crafted.srgb() + random.Random(1).randbytes(10 * 2**20)))


def _with_profile(profile: bytes) -> bytes:
    return png_with(crafted.iccp(zlib.compress(profile)))


def _nested_icc_bomb() -> bytes:
    return png_with(crafted.iccp(zlib.compress(crafted.deflated_zeros(), 9)))


def _gif_of_frames(count: int) -> bytes:
    return gif_of(1, 1, gif_image() * count)


def _png_of_claimed_frames(claimed: int) -> bytes:
    control = chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 4, 4, 0, 0, 1, 1, 0, 0))
    return png_of(header(4, 4), chunk(b"acTL", struct.pack(">II", claimed, 0)), control, rows(4, 4, 3))


def _apng_that_claims_one() -> bytes:
    content = crafted.animated("PNG", 3)
    at = content.index(b"acTL")
    claim = chunk(b"acTL", struct.pack(">II", 1, 0))
    return patched(content, (at - 4, claim))


def _webp_of_size(width: int, height: int) -> bytes:
    content = crafted.saved(crafted.blocks(), "WEBP", lossless=True)
    at = content.index(b"VP8L") + 8
    bits = int.from_bytes(content[at + 1 : at + 5], "little") & ~0xFFFFFFF
    return patched(content, (at + 1, (bits | (width - 1) | (height - 1) << 14).to_bytes(4, "little")))


def _heic_of_items() -> bytes:
    content = crafted.heic()
    return patched(content, (content.index(b"iinf") + 8, b"\xff\xff"))


def _huge_webp_canvas() -> bytes:
    content = crafted.animated("WEBP", 2)
    at = content.index(b"VP8X") + 8
    return patched(content, (at + 4, (2**14 - 1).to_bytes(3, "little") * 2))


def _pieces(piece: bytes) -> bytes:
    """As many as make a file of 19 MB, which is nearly the most that is downloaded."""
    return piece * (19 * 2**20 // len(piece))


def _exif_of_pieces() -> bytes:
    # A resolution of 2 million fractions, in as many segments as it needs.
    entry = struct.pack("<HHII", 0x011A, 5, 2_000_000, 26)
    head = b"Exif\0\0II*\0\x08\0\0\0\x01\0" + entry + bytes(4)
    fractions = segment(0xE1, b"Exif\0\0" + b"\1\0\0\0" * 15_000)
    return jpeg_with(segment(0xE1, head), *[fractions] * 270)


def _gif_of_pieces() -> bytes:
    return gif_of(1, 1, b"\x21\xfe" + _pieces(b"\1a") + b"\0", gif_image())


def _tiff_of_strips(count: int) -> bytes:
    data = struct.pack("<I", 8) * count + struct.pack("<I", 1) * count
    tags = {256: (4, 1, 8000), 257: (4, 1, 8000), 258: (3, 1, 1), 259: (3, 1, 1), 262: (3, 1, 1)}
    strips = {273: (4, count, 8), 277: (3, 1, 1), 278: (4, 1, 1), 279: (4, count, 8 + 4 * count)}
    return crafted_tiffs.of_tags(tags | strips, data)


# Format → a file that claims a size; more pixels than are allowed, and fewer than Pillow itself refuses.
_CLAIMS: dict[str, Content] = {
    "PNG": lambda: png_of(header(10_000, 10_000), rows(10_000, 1, 3)),
    "JPEG": lambda: crafted.jpeg_of_size(10_000, 10_000),
    "GIF": lambda: gif_of(10_000, 10_000, gif_image()),
    "WebP": lambda: _webp_of_size(10_000, 10_000),
    "AVIF": lambda: crafted.with_claimed_size(crafted.avif(), 10_000, 10_000),
    "HEIC": lambda: crafted.with_claimed_size(crafted.heic(), 10_000, 10_000),
    "BMP": lambda: crafted.bmp_of_size(10_000, 10_000),
    "TIFF": lambda: crafted_tiffs.of_size(10_000, 10_000),
}


def _huge_picture(mode: str) -> bytes:
    """Few bytes, 64 million pixels: the most that is allowed."""
    depth, colours, size = {"RGB": (8, 2, 3), "RGBA": (16, 6, 8)}[mode]
    return png_of(header(8000, 8000, depth, colours), rows(8000, 8000, size))


METADATA = (
    good("EXIF of 4 MB", _huge_exif),
    good("EXIF directory that contains itself", _looping_exif),
    good("EXIF orientation of 2^32 values", _exif_of_claims),
    good(
        "EXIF that is noise", lambda: jpeg_with(segment(0xE1, b"Exif\0\0" + random.Random(2).randbytes(6000)))
    ),
    good("comments of 2 MB", lambda: jpeg_with(*[segment(0xFE, b"x" * 65533)] * 32)),
    good("ICC profile of 10 MB", _huge_icc),
    good("ICC profile that is noise", lambda: _with_profile(random.Random(3).randbytes(3000))),
    good("ICC profile that claims 2^32 tags", lambda: _with_profile(crafted.profile_of(claimed=2**32 - 1))),
    good(
        "ICC profile whose table claims 255^3 entries",
        lambda: _with_profile(crafted.profile_of((b"A2B0", crafted.lookup_table(255)))),
    ),
    good(
        "ICC profile whose table claims 255^15 entries",
        lambda: _with_profile(crafted.profile_of((b"A2B0", crafted.lookup_table(255, 15)))),
    ),
    broken("ICC profile that unpacks to 256 MB", lambda: png_with(crafted.iccp(crafted.deflated_zeros()))),
    good("ICC profile that unpacks to one that unpacks to 256 MB", _nested_icc_bomb),
    broken(
        "text that unpacks to 256 MB",
        lambda: png_with(chunk(b"zTXt", b"Comment\0\0" + crafted.deflated_zeros())),
    ),
    broken(
        "a thousand texts of 1 MB each",
        lambda: png_with(*[chunk(b"zTXt", b"Comment\0\0" + crafted.deflated_zeros(2**20))] * 1000),
    ),
)

# 5 to 20 s of Pillow's parsers each, if they were read.
PIECES = (
    broken("JPEG of 5 million empty segments", lambda: jpeg_with(_pieces(segment(0xFE, b"")))),
    broken("JPEG with 19 MB of padding", lambda: jpeg_with(_pieces(b"\xff"))),
    broken("JPEG with EXIF data of 2 million fractions", _exif_of_pieces),
    broken("PNG of 1.6 million empty chunks", lambda: png_with(_pieces(chunk(b"teXt", b"")))),
    broken("GIF with a comment of 10 million pieces", _gif_of_pieces),
    broken("TIFF of 2.4 million strips", lambda: _tiff_of_strips(2_400_000)),
)

BOMBS = (
    *(too_large(f"{name} of 10,000 x 10,000", content) for name, content in _CLAIMS.items()),
    too_large("TIFF of a tile of 60,000 x 60,000", lambda: crafted_tiffs.of_tiles(16, 60_000)),
    broken("APNG that claims one frame and has three", _apng_that_claims_one),
    too_large("PNG of 60,000 x 60,000", lambda: png_of(header(60000, 60000), rows(10, 10, 3))),
    too_large("PNG of 2^31 - 1 squared", lambda: png_of(header(2**31 - 1, 2**31 - 1), rows(1, 1, 3))),
    too_large("PNG of one row of 2^31 - 1", lambda: png_of(header(2**31 - 1, 1), rows(1, 1, 3))),
    too_large("PNG one row above the limit", lambda: png_of(header(8000, 8001), rows(8000, 1, 3))),
    too_large("JPEG of 65,500 x 65,500", lambda: crafted.jpeg_of_size(65500, 65500)),
    too_large("GIF with a canvas of 65,535 x 65,535", lambda: gif_of(65535, 65535, gif_image())),
    too_large(
        "GIF whose second frame enlarges the canvas",
        lambda: gif_of(1, 1, gif_image(), gif_image(65535, 65535)),
    ),
    too_large("WebP of 16,383 x 16,383", lambda: _webp_of_size(16383, 16383)),
    too_large("animated WebP with a canvas of 16,384 x 16,384", _huge_webp_canvas),
    too_large("AVIF of 16,000 x 16,000", lambda: crafted.with_claimed_size(crafted.avif(), 16000, 16000)),
    too_large("HEIC of 16,000 x 16,000", lambda: crafted.with_claimed_size(crafted.heic(), 16000, 16000)),
    too_large("BMP of 2^31 - 1 squared", lambda: crafted.bmp_of_size(2**31 - 1, 2**31 - 1)),
    too_large("TIFF of 100,000 x 100,000", lambda: crafted_tiffs.of_size(100_000, 100_000)),
    broken("HEIC that claims 65,535 items", _heic_of_items),
    good("PNG of as many pixels as are allowed", lambda: _huge_picture("RGB")),
    no_media(
        "PNG that needs more memory than is allowed",
        lambda: _huge_picture("RGBA"),
        Reason.DECODE_MEMORY,
        decode_memory_mb=512,
    ),
    good("GIF of 100,000 frames", lambda: _gif_of_frames(100_000)),
    no_media(
        "PNG that takes longer than is allowed",
        lambda: _huge_picture("RGB"),
        Reason.DECODE_TIMEOUT,
        decode_timeout_s=0.05,
    ),
    broken("APNG that claims 2^31 - 1 frames and has one", lambda: _png_of_claimed_frames(2**31 - 1)),
    good(
        "PNG whose pixels unpack to 256 MB more",
        lambda: png_of(header(1, 1), chunk(b"IDAT", crafted.deflated_zeros())),
    ),
)

CASES: tuple[Case, ...] = (*METADATA, *PIECES, *BOMBS)
