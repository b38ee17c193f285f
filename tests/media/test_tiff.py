"""TIFF: the first page, upright, by the decoders that are needed."""

import struct
from dataclasses import replace

import numpy as np
import pytest
from pictures import encoded, noise, quadrants
from PIL import Image
from test_decode import pixel, reason_of
from test_heif import STORED_AS

from streamapp.media.decode import Limits, decode
from streamapp.reasons import Reason

LIMITS = Limits()
COMPRESSIONS = ["raw", "packbits", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "jpeg"]


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_common_compressions_are_read(compression: str) -> None:
    content = encoded(noise(1), "TIFF", compression=compression)
    (frame,) = decode(content, LIMITS).frames
    assert np.abs(frame.pixels.astype(int) - np.asarray(noise(1), dtype=int)).mean() < 20


@pytest.mark.parametrize("compression", ["lzma", "zstd", "webp", "tiff_sgilog"])
def test_rare_compressions_are_not_run(compression: str) -> None:
    codes = {"lzma": 34925, "zstd": 50000, "webp": 50001, "tiff_sgilog": 34676}
    content = encoded(noise(1), "TIFF", compression="packbits")
    entry = struct.pack("<HHI", 259, 3, 1)
    at = content.index(entry) + len(entry)
    forged = content[:at] + struct.pack("<I", codes[compression]) + content[at + 4 :]
    assert reason_of(forged) is Reason.UNKNOWN_FORMAT


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_the_orientation_is_undone_once(turn: int, compression: str) -> None:
    method = STORED_AS[turn]
    image = quadrants() if method is None else quadrants().transpose(method)
    picture = decode(encoded(image, "TIFF", compression=compression, tiffinfo={0x0112: turn}), LIMITS)
    assert (picture.width_px, picture.height_px) == (32, 16)
    assert np.array_equal(picture.frames[0].pixels, np.asarray(quadrants()))


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.new("RGBA", (4, 4), (255, 0, 0, 0)), (255, 255, 255)),
        (Image.new("CMYK", (4, 4), (0, 255, 255, 0)), (255, 0, 0)),
        (Image.new("L", (4, 4), 77), (77, 77, 77)),
        (Image.new("1", (4, 4), 1), (255, 255, 255)),
        (Image.new("I;16", (4, 4), 32768), (128, 128, 128)),
    ],
    ids=lambda value: value.mode if isinstance(value, Image.Image) else str(value),
)
def test_a_tiff_of_any_mode_becomes_the_colour_that_is_seen(
    image: Image.Image, expected: tuple[int, ...]
) -> None:
    assert pixel(encoded(image, "TIFF")) == expected


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_numbers_without_a_scale_are_stretched_until_they_can_be_seen(dtype: type) -> None:
    gray = np.asarray(noise(1).convert("L"))
    stretched = (gray.astype(np.float64) - gray.min()) / (gray.max() - gray.min())
    values = (stretched if dtype is np.float32 else stretched * 100_000).astype(dtype)
    (frame,) = decode(encoded(Image.fromarray(values), "TIFF"), LIMITS).frames
    assert np.abs(frame.pixels[..., 0] - 255 * stretched).max() <= 1


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.5])
def test_numbers_that_are_all_the_same_or_none_are_black(value: float) -> None:
    assert pixel(encoded(Image.fromarray(np.full((4, 4), value, np.float32)), "TIFF")) == (0, 0, 0)


def test_the_first_page_is_the_picture() -> None:
    content = encoded(noise(1), "TIFF", save_all=True, append_images=[noise(2), noise(3)])
    picture = decode(content, LIMITS)
    (frame,) = picture.frames
    assert np.array_equal(frame.pixels, np.asarray(noise(1)))
    assert picture.frames_complete


def test_a_tile_larger_than_any_picture_is_refused_before_it_is_decoded() -> None:
    tags = {256: 16, 257: 16, 258: 8, 259: 8, 262: 1, 277: 1, 322: 2**20, 323: 2**20, 324: 8, 325: 8}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    content = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)
    assert reason_of(content) is Reason.TOO_MANY_PIXELS


def test_one_pixel_too_many_is_refused() -> None:
    assert reason_of(encoded(noise(1), "TIFF"), replace(LIMITS, max_pixels=4095)) is Reason.TOO_MANY_PIXELS


@pytest.mark.parametrize("tenths", range(1, 10))
@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
def test_a_truncated_one_is_broken(tenths: int, compression: str) -> None:
    content = encoded(noise(1), "TIFF", compression=compression)
    assert reason_of(content[: len(content) * tenths // 10]) is Reason.BROKEN_FILE
