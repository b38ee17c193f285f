"""Files of very many pieces are refused before Pillow walks through them; real ones are not."""

import struct

import pytest
from pictures import animation, encoded, noise, png_chunk
from PIL import Image

from streamapp.errors import MediaError
from streamapp.media.decode import Limits, decode
from streamapp.reasons import Reason

JPEG = encoded(noise(1), "JPEG")
PNG = encoded(noise(1), "PNG")
GIF = encoded(noise(1), "GIF")
SIZE = 10**6


def jpeg_with(data: bytes) -> bytes:
    return JPEG[:2] + data + JPEG[2:]


def segment(marker: int, data: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def tiff_with(tag: int, kind: int, values: int, *, entries: int = 1, is_big: bool = False) -> bytes:
    if is_big:
        entry = struct.pack("<HHQQ", tag, kind, values, 16)
        return b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, entries) + entry * entries + bytes(8)
    entry = struct.pack("<HHII", tag, kind, values, 8)
    return b"II*\0" + struct.pack("<IH", 8, entries) + entry * entries + bytes(4)


@pytest.mark.parametrize(
    "content",
    [
        jpeg_with(segment(0xFE, b"") * (SIZE // 4)),
        jpeg_with(b"\xff" * SIZE),
        jpeg_with(segment(0xFE, b"") + bytes(SIZE)),
        jpeg_with(b"\xff\xd0" * (SIZE // 2)),
        jpeg_with(segment(0xE1, b"Exif\0\0" + bytes(100)) * 17),
        PNG[:33] + png_chunk(b"teXt", b"") * (SIZE // 12) + PNG[33:],
        PNG[:-12] + png_chunk(b"teXt", b"") * (SIZE // 12) + PNG[-12:],
        GIF[:-1] + b"\x21\xfe" + b"\1a" * SIZE + b"\0;",
        GIF[:-1] + bytes(SIZE + 1) + b";",
        tiff_with(273, 4, 100_001),
        tiff_with(282, 5, 100_001),
        tiff_with(273, 16, 2**40, is_big=True),
        tiff_with(256, 4, 1, entries=1001),
    ],
)
def test_a_file_of_too_many_pieces_is_refused_before_it_is_opened(
    content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("It was opened."))
    with pytest.raises(MediaError, match=r"pieces|blocks") as caught:
        decode(content, Limits())
    assert caught.value.reason is Reason.BROKEN_FILE


@pytest.mark.parametrize(
    "content",
    [
        # A profile of the most segments, a map of depth of 20 MB, padding, and EXIF data that was split.
        jpeg_with(segment(0xE2, b"MPF\0" + bytes(1000)) * 600),
        jpeg_with(b"\xff" * 100),
        jpeg_with(segment(0xE1, b"Exif\0\0" + bytes(60_000)) * 3),
        # Written in the smallest pieces that are known of, 1 kB, 20 MB are 20,000.
        PNG[:33] + png_chunk(b"teXt", bytes(1000)) * 20_000 + PNG[33:],
        animation([noise(seed, 16, 16) for seed in range(200)], "GIF", 100),
        GIF[:-1] + b"\x21\xfe" + (b"\xff" + bytes(255)) * 80_000 + b"\0;",
        encoded(noise(1, 64, 5000), "TIFF", compression="tiff_lzw"),
    ],
)
def test_as_many_pieces_as_real_files_have_are_read(content: bytes) -> None:
    assert decode(content, Limits()).frames


@pytest.mark.parametrize(
    "content", [b"II*\0", b"MM\0*\0\0\0\xff", b"II+\0\x08\0\0\0\x10", tiff_with(273, 4, 1)[:20]]
)
def test_a_directory_that_is_cut_is_left_to_the_reader(content: bytes) -> None:
    with pytest.raises(MediaError) as caught:
        decode(content, Limits())
    assert caught.value.reason is Reason.BROKEN_FILE
