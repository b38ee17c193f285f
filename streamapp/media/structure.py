"""Bounds how many pieces a JPEG, a PNG or a TIFF is made of, before Pillow walks through them.

Pillow's parsers are Python: 20 MB of empty pieces would keep them busy for many seconds, for a picture of
one pixel. Each bound is tens of times what is found in real files of that size.
"""

import struct
from contextlib import suppress

from streamapp.errors import MediaError
from streamapp.reasons import Reason

# Before the pixels: a profile has at most 255 segments, a map of depth of 5 MB about 80.
_JPEG_SEGMENTS = 2000
_JPEG_STRAY_BYTES = 20_000
# The standard allows one, of 64 kB; Pillow joins what some programs split.
_JPEG_EXIF_SEGMENTS = 16
# Of a 20 MB file, pixels in pieces of 4 kB are 5000 chunks.
_PNG_CHUNKS = 50_000

# Of the first page: its entries, and values of one of them that become Python numbers, such as where its
# strips are (64 million pixels in tiles of 64 x 64 are 16,000).
_TIFF_ENTRIES = 1000
_TIFF_VALUES = 100_000
_BIG_TIFF = 43
_TIFF_TYPES_OF_BYTES = (1, 2, 7)

# TEM, RST0 to RST7, SOI and EOI have no length (ITU-T T.81, B.1.1.3).
_JPEG_WITHOUT_LENGTH = (0x01, *range(0xD0, 0xDA))
_JPEG_SCAN, _JPEG_APP1 = 0xDA, 0xE1


def check_structure(content: bytes, media_type: str) -> None:
    """Pass a file of a bounded number of pieces, whether or not it is in order.

    Raises:
        MediaError: broken_file, where there are too many.
    """
    if media_type == "image/jpeg":
        _check_jpeg(content)
    elif media_type == "image/png":
        _check_png(content)
    elif media_type == "image/tiff":
        with suppress(struct.error):
            _check_tiff(content)


def _check_jpeg(content: bytes) -> None:
    """Walk to the first scan, behind which libjpeg reads on, in C."""
    at, segments, exif_segments, stray_bytes = 0, 0, 0, 0
    while at + 4 <= len(content):
        marker = content[at + 1] if content[at] == 0xFF else 0
        if marker == _JPEG_SCAN:
            return
        if marker in (0, 0xFF):
            at += 1
            stray_bytes += 1
        else:
            segments += 1
            exif_segments += marker == _JPEG_APP1 and content.startswith(b"Exif\0\0", at + 4)
            at += 2 if marker in _JPEG_WITHOUT_LENGTH else 2 + int.from_bytes(content[at + 2 : at + 4], "big")
        if exif_segments > _JPEG_EXIF_SEGMENTS:
            raise _too_many("JPEG", f"{exif_segments} segments of EXIF data")
        if segments > _JPEG_SEGMENTS or stray_bytes > _JPEG_STRAY_BYTES:
            raise _too_many("JPEG", f"{segments} segments and {stray_bytes} stray bytes before its pixels")


def _check_png(content: bytes) -> None:
    at = 8
    for _ in range(_PNG_CHUNKS):
        if at + 8 > len(content):
            return
        at += 12 + struct.unpack_from(">I", content, at)[0]
    raise _too_many("PNG", f"more than {_PNG_CHUNKS} chunks")


def _check_tiff(content: bytes) -> None:
    order = "<" if content.startswith(b"II") else ">"
    (version,) = struct.unpack_from(f"{order}H", content, 2)
    offset, count, entry = ("Q", "Q", "HHQ8x") if version == _BIG_TIFF else ("I", "H", "HHI4x")
    (at,) = struct.unpack_from(order + offset, content, struct.calcsize(order + offset))
    (entries,) = struct.unpack_from(order + count, content, at)
    if entries > _TIFF_ENTRIES:
        raise _too_many("TIFF", f"{entries} entries of its first page")
    at += struct.calcsize(order + count)
    entry_bytes = struct.calcsize(order + entry)
    for place in range(at, at + entries * entry_bytes, entry_bytes):
        tag, kind, values = struct.unpack_from(order + entry, content, place)
        if values > _TIFF_VALUES and kind not in _TIFF_TYPES_OF_BYTES:
            raise _too_many("TIFF", f"{values} values of its tag {tag}")


def _too_many(name: str, what: str) -> MediaError:
    return MediaError(Reason.BROKEN_FILE, f"The {name} is made of too many pieces: {what}.")
