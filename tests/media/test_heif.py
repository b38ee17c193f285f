"""HEIC pictures: upright once, in sRGB, and only what a viewer shows."""

from dataclasses import replace
from io import BytesIO

import numpy as np
import pillow_heif
import pytest
from pictures import heic, noise, quadrants
from PIL import Image, ImageCms
from pillow_heif.as_plugin import HeifImageFile
from test_decode import reason_of, swapped_profile

from streamapp.media.decode import Limits, decode
from streamapp.reasons import Reason

LIMITS = Limits()
# How a viewer that ignores orientation sees a picture whose upright form is `quadrants`.
STORED_AS = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def assert_is_quadrants(content: bytes, factor: int) -> None:
    picture = decode(content, LIMITS)
    assert (picture.width_px, picture.height_px) == (32 * factor, 16 * factor)
    seen = picture.frames[0].pixels[4 * factor :: 8 * factor, 8 * factor :: 16 * factor].astype(int)
    assert np.abs(seen - np.asarray(quadrants(), dtype=int)[4::8, 8::16]).max() < 40


@pytest.mark.parametrize("turn", range(1, 9))
def test_the_files_rotation_is_obeyed_once_and_exifs_copy_of_it_is_not(turn: int) -> None:
    method = STORED_AS[turn]
    large = quadrants().resize((128, 64), Image.Resampling.NEAREST)
    image = large if method is None else large.transpose(method)
    exif = Image.Exif()
    exif[0x0112] = turn
    # The encoder makes it the file's own property, and keeps the copy.
    content = heic(image, quality=95, exif=exif.tobytes())
    assert_is_quadrants(content, 4)


def test_an_exif_orientation_without_the_files_own_is_ignored() -> None:
    exif = Image.Exif()
    exif[0x0112] = 1
    large = quadrants().resize((128, 64), Image.Resampling.NEAREST)
    content = heic(large, quality=95, exif=exif.tobytes())
    upright, turned = (b"\1\x12\0\3\0\0\0\1\0" + bytes([value]) for value in (1, 6))
    assert upright in content
    assert_is_quadrants(content.replace(upright, turned), 4)


def test_a_profile_is_obeyed() -> None:
    content = heic(Image.new("RGB", (64, 64), (255, 0, 0)), quality=95, icc_profile=swapped_profile())
    red, _, blue = decode(content, LIMITS).frames[0].pixels[32, 32]
    assert red < 10
    assert blue > 245


def test_a_profile_that_says_srgb_changes_nothing() -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    content = heic(Image.new("RGB", (64, 64), (200, 100, 50)), quality=95, icc_profile=srgb)
    pixel = decode(content, LIMITS).frames[0].pixels[32, 32].astype(int)
    assert np.abs(pixel - (200, 100, 50)).max() < 6


def test_what_is_transparent_is_seen_as_white() -> None:
    content = heic(Image.new("RGBA", (64, 64), (255, 0, 0, 0)), quality=95)
    assert decode(content, LIMITS).frames[0].pixels.min() > 250


def test_ten_bits_are_seen_as_eight() -> None:
    gray = np.full((64, 64), 32768, np.uint16)
    content = heic(Image.fromarray(gray), quality=95)
    assert np.abs(decode(content, LIMITS).frames[0].pixels.astype(int) - 128).max() < 4


def test_only_the_primary_picture_is_looked_at() -> None:
    file = pillow_heif.HeifFile()
    for seed in (1, 2, 3):
        file.add_from_pillow(noise(seed))
    buffer = BytesIO()
    file.save(buffer, primary_index=1)
    (frame,) = decode(buffer.getvalue(), LIMITS).frames
    assert np.abs(frame.pixels.astype(int) - np.asarray(noise(2), dtype=int)).mean() < 25


def test_a_thumbnail_never_stands_for_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    # What Pillow calls a draft would be the thumbnail, which may show something else.
    monkeypatch.setattr(HeifImageFile, "draft", lambda *_: pytest.fail("a thumbnail was asked for"))
    picture = decode(heic(noise(1, 1024, 1024, 64), thumbnails=[512]), replace(LIMITS, frame_side_px=256))
    assert (picture.width_px, picture.frames[0].scale) == (1024, 4.0)


def test_a_large_one_is_scaled_down_and_one_pixel_too_many_is_refused() -> None:
    content = heic(noise(1, 200, 100))
    (frame,) = decode(content, replace(LIMITS, frame_side_px=100)).frames
    assert (frame.pixels.shape, frame.scale) == ((50, 100, 3), 2.0)
    assert reason_of(content, replace(LIMITS, max_pixels=200 * 100 - 1)) is Reason.TOO_MANY_PIXELS


@pytest.mark.parametrize("tenths", range(1, 10))
def test_a_truncated_one_is_broken(tenths: int) -> None:
    content = heic(noise(1, 200, 200))
    assert reason_of(content[: len(content) * tenths // 10]) is Reason.BROKEN_FILE


def test_the_opener_is_not_registered_with_pillow() -> None:
    decode(heic(noise(1)), LIMITS)
    assert "HEIF" not in Image.OPEN
