"""Pixels come out right, limits hold, and broken files are MediaErrors."""

import hashlib
import struct
import subprocess
import sys
import threading
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from io import BytesIO
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pictures import animation, encoded, heic, noise, png_chunk, png_of_size, quadrants
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from streamapp.errors import MediaError
from streamapp.media import Picture, Pixels
from streamapp.media.decode import Limits, decode
from streamapp.media.pillow_warnings import silenced
from streamapp.reasons import Reason
from streamapp.settings import Settings

LIMITS = Limits()
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "AVIF", "TIFF")


def pixels_of(content: bytes, limits: Limits = LIMITS) -> Pixels:
    (frame,) = decode(content, limits).frames
    return frame.pixels


def pixel(content: bytes) -> tuple[int, ...]:
    """The one colour of a picture."""
    colours = np.unique(pixels_of(content).reshape(-1, 3), axis=0)
    assert len(colours) == 1
    return tuple(int(channel) for channel in colours[0])


def reason_of(content: bytes, limits: Limits = LIMITS) -> Reason:
    with pytest.raises(MediaError) as caught:
        decode(content, limits)
    return caught.value.reason


@pytest.mark.parametrize("pillow_format", FORMATS)
def test_every_format_gives_rgb_frames_and_the_files_facts(pillow_format: str) -> None:
    content = encoded(noise(1, 60, 40), pillow_format)
    picture = decode(content, LIMITS)
    assert picture.sha256 == hashlib.sha256(content).hexdigest()
    assert (picture.size_bytes, picture.width_px, picture.height_px) == (len(content), 60, 40)
    (frame,) = picture.frames
    assert (frame.index, frame.time_s, frame.scale) == (0, 0.0, 1.0)
    assert frame.pixels.shape == (40, 60, 3)
    assert frame.pixels.dtype == np.uint8
    assert frame.pixels.flags.c_contiguous
    assert frame.pixels.flags.writeable
    expected = np.asarray(noise(1, 60, 40), dtype=int)
    assert np.abs(frame.pixels.astype(int) - expected).mean() < 20


def test_lossless_pixels_are_exact() -> None:
    assert np.array_equal(pixels_of(encoded(noise(2), "PNG")), np.asarray(noise(2)))


@pytest.mark.parametrize("pillow_format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_the_exif_orientation_is_undone(turn: int, pillow_format: str) -> None:
    # How a viewer that ignores EXIF sees a picture whose upright form is `quadrants`.
    stored_as: dict[int, Callable[[Image.Image], Image.Image]] = {
        1: lambda image: image,
        2: lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        3: lambda image: image.transpose(Image.Transpose.ROTATE_180),
        4: lambda image: image.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        5: lambda image: image.transpose(Image.Transpose.TRANSPOSE),
        6: lambda image: image.transpose(Image.Transpose.ROTATE_90),
        7: lambda image: image.transpose(Image.Transpose.TRANSVERSE),
        8: lambda image: image.transpose(Image.Transpose.ROTATE_270),
    }
    exif = Image.Exif()
    exif[0x0112] = turn
    picture = decode(encoded(stored_as[turn](quadrants()), pillow_format, exif=exif, quality=100), LIMITS)
    assert (picture.width_px, picture.height_px) == (32, 16)
    difference = np.abs(picture.frames[0].pixels.astype(int) - np.asarray(quadrants(), dtype=int))
    assert difference[4::8, 8::16].max() < 40


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0", b"x" * 1000]
)
def test_broken_exif_does_not_cost_the_picture(exif: bytes) -> None:
    assert pixels_of(encoded(noise(1), "JPEG", exif=exif)).shape == (64, 64, 3)


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="3"/></x:xmpmeta>'


def exif_entry(tag: int, kind: int, count: int, value: int) -> bytes:
    return b"Exif\0\0II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", tag, kind, count, value) + bytes(4)


@pytest.mark.parametrize(
    ("pillow_format", "options"),
    [
        ("JPEG", {"xmp": XMP}),
        ("WEBP", {"xmp": XMP}),
        ("AVIF", {"xmp": XMP}),
        ("TIFF", {"tiffinfo": {700: XMP}}),
        ("JPEG", {"exif": exif_entry(0x0112, 4, 1, 3)}),
        ("JPEG", {"exif": exif_entry(0x0112, 3, 2, 3)}),
        ("JPEG", {"exif": exif_entry(0x0112, 3, 1, 9)}),
    ],
)
def test_a_turn_that_browsers_do_not_know_of_is_not_obeyed(
    pillow_format: str, options: dict[str, Any]
) -> None:
    content = encoded(
        quadrants(), pillow_format, **({"quality": 95} if pillow_format != "TIFF" else {}), **options
    )
    seen = pixels_of(content)[4::8, 8::16].astype(int)
    assert np.abs(seen - np.asarray(quadrants(), dtype=int)[4::8, 8::16]).max() < 40


def test_a_png_is_not_turned_by_what_its_text_says() -> None:
    text = PngInfo()
    turned = exif_entry(0x0112, 3, 1, 3)
    text.add_text("Raw profile type exif", f"\nexif\n{len(turned):8}\n{turned.hex()}")
    text.add_itxt("XML:com.adobe.xmp", XMP.decode())
    assert np.array_equal(pixels_of(encoded(quadrants(), "PNG", pnginfo=text)), np.asarray(quadrants()))


def with_gamma(png: bytes, gamma: float, *more: bytes) -> bytes:
    chunk = png_chunk(b"gAMA", struct.pack(">I", round(gamma * 100_000)))
    return png[:33] + chunk + b"".join(more) + png[33:]


def test_a_picture_that_only_viewers_of_its_gamma_see_is_seen() -> None:
    # One in four pixels is bright, and black becomes what lies below.
    hidden = np.asarray(noise(1, 64, 64, 16).convert("L")).repeat(2, 0).repeat(2, 1)
    pixels = np.full((128, 128), 180, np.uint8)
    pixels[::2, ::2] = 255 * (hidden[::2, ::2] / 255) ** (0.02 / 0.45455)
    seen = pixels_of(
        with_gamma(encoded(Image.fromarray(pixels), "PNG"), 0.02), replace(LIMITS, frame_side_px=64)
    )
    shown = np.zeros((128, 128))
    shown[::2, ::2] = hidden[::2, ::2]
    assert np.corrcoef(seen[..., 0].ravel(), shown[::2, ::2].ravel())[0, 1] > 0.9
    assert seen.mean() < 80


@pytest.mark.parametrize(("mode", "gray"), [("RGB", 100), ("L", 100), ("I;16", 25700)])
def test_gamma_is_applied_as_libpng_does(mode: str, gray: int) -> None:
    content = encoded(Image.new(mode, (4, 4), (gray,) * 3 if mode == "RGB" else gray), "PNG")
    # 255 (100 / 255) ^ (1 / (1 * 2.2))
    assert pixel(with_gamma(content, 1.0)) == (167, 167, 167)


def test_gamma_leaves_transparency_as_it_is() -> None:
    content = encoded(Image.new("RGBA", (4, 4), (0, 0, 0, 128)), "PNG")
    assert pixel(with_gamma(content, 1.0)) == pixel(content)


@pytest.mark.parametrize("gamma", [0.45455, 0.45, 0.0])
def test_a_gamma_that_says_nothing_changes_nothing(gamma: float) -> None:
    assert pixel(with_gamma(encoded(Image.new("L", (4, 4), 100), "PNG"), gamma)) == (100, 100, 100)


def test_a_profile_overrules_gamma() -> None:
    content = encoded(Image.new("RGB", (4, 4), (100, 100, 100)), "PNG")
    srgb = png_chunk(b"sRGB", b"\0")
    assert pixel(with_gamma(content, 1.0, srgb)) == (100, 100, 100)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    content = encoded(Image.new("RGB", (4, 4), (100, 100, 100)), "PNG", icc_profile=profile)
    assert np.abs(np.subtract(pixel(with_gamma(content, 1.0)), 100)).max() <= 1


def test_an_orientation_that_does_not_exist_is_ignored() -> None:
    exif = Image.Exif()
    exif[0x0112] = 99
    assert decode(encoded(quadrants(), "PNG", exif=exif), LIMITS).width_px == 32


def test_a_profile_that_says_srgb_or_does_not_fit_changes_nothing() -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    image = Image.new("RGB", (8, 8), (200, 100, 50))
    assert np.abs(np.subtract(pixel(encoded(image, "PNG", icc_profile=srgb)), (200, 100, 50))).max() <= 1
    assert pixel(encoded(image, "PNG", icc_profile=lab)) == (200, 100, 50)


def swapped_profile() -> bytes:
    """An sRGB profile whose red and blue primaries change places."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile.replace(b"rXYZ", b"tXYZ").replace(b"bXYZ", b"rXYZ").replace(b"tXYZ", b"bXYZ")


@pytest.mark.parametrize("alpha", [False, True])
def test_a_profile_that_swaps_colours_is_obeyed_whatever_it_is_called(alpha: bool) -> None:
    image = Image.new("RGBA" if alpha else "RGB", (8, 8), (255, 0, 0))
    red, _, blue = pixel(encoded(image, "PNG", icc_profile=swapped_profile()))
    assert (red, blue) == (0, 255)


@pytest.mark.parametrize("profile", [b"not a profile", b"\0" * 200])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_a_broken_profile_does_not_cost_the_picture(mode: str, profile: bytes) -> None:
    assert pixels_of(encoded(noise(1).convert(mode), "PNG", icc_profile=profile)).shape == (64, 64, 3)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.new("RGBA", (4, 4), (255, 0, 0, 0)), (255, 255, 255)),
        (Image.new("RGBA", (4, 4), (255, 0, 0, 128)), (255, 127, 127)),
        (Image.new("LA", (4, 4), (0, 0)), (255, 255, 255)),
        (Image.new("LA", (4, 4), (10, 255)), (10, 10, 10)),
        (Image.new("L", (4, 4), 77), (77, 77, 77)),
        (Image.new("1", (4, 4), 1), (255, 255, 255)),
        (Image.new("1", (4, 4), 0), (0, 0, 0)),
        (Image.new("P", (4, 4), 0), (0, 0, 0)),
        (Image.new("I;16", (4, 4), 65535), (255, 255, 255)),
        (Image.new("I;16", (4, 4), 32768), (128, 128, 128)),
        (Image.new("I;16", (4, 4), 300), (1, 1, 1)),
    ],
    ids=lambda value: value.mode if isinstance(value, Image.Image) else str(value),
)
def test_a_png_of_any_mode_becomes_the_colour_that_is_seen(
    image: Image.Image, expected: tuple[int, ...]
) -> None:
    assert pixel(encoded(image, "PNG")) == expected


def test_a_transparent_palette_colour_is_seen_as_white() -> None:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 255, 0, 0])
    assert pixel(encoded(image, "PNG")) == (255, 0, 0)
    assert pixel(encoded(image, "PNG", transparency=1)) == (255, 255, 255)
    assert pixel(encoded(image, "GIF", transparency=1)) == (255, 255, 255)


def test_a_transparent_colour_key_is_seen_as_white() -> None:
    assert pixel(encoded(Image.new("RGB", (4, 4), "red"), "PNG", transparency=(255, 0, 0))) == (255, 255, 255)


def test_a_cmyk_jpeg_is_seen_in_its_colours() -> None:
    red, green, blue = pixel(encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=100))
    assert red > 240
    assert max(green, blue) < 15


@pytest.mark.parametrize("pillow_format", FORMATS)
def test_a_large_picture_is_scaled_down_and_says_by_how_much(pillow_format: str) -> None:
    image = noise(3, 1000, 500, block_px=125)
    picture = decode(encoded(image, pillow_format), replace(LIMITS, frame_side_px=200))
    (frame,) = picture.frames
    assert (picture.width_px, picture.height_px) == (1000, 500)
    assert frame.pixels.shape == (100, 200, 3)
    assert frame.scale == 5.0
    # The middles of the blocks, which no filter touches.
    seen = frame.pixels[12::25, 12::25].astype(int)
    assert np.abs(seen - np.asarray(image, dtype=int)[62::125, 62::125]).mean() < 25


def test_a_jpeg_is_decoded_small_but_never_smaller_than_the_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[tuple[int, int]] = []
    resize = Image.Image.resize

    def noting(self: Image.Image, *args: object, **kwargs: object) -> Image.Image:
        loaded.append(self.size)
        return resize(self, *args, **kwargs)  # type: ignore[arg-type]

    content = encoded(Image.new("RGB", (2500, 1001)), "JPEG")
    monkeypatch.setattr(Image.Image, "resize", noting)
    picture = decode(content, replace(LIMITS, frame_side_px=600))
    assert loaded == [(625, 251)]
    assert picture.frames[0].pixels.shape == (241, 600, 3)
    assert picture.frames[0].scale == pytest.approx(2500 / 600)


@pytest.mark.parametrize("size", [(3000, 1), (1, 3000)])
def test_a_picture_of_one_line_keeps_a_pixel(size: tuple[int, int]) -> None:
    assert (
        min(pixels_of(encoded(Image.new("RGB", size), "PNG"), replace(LIMITS, frame_side_px=100)).shape) == 1
    )


def test_fine_patterns_become_gray_and_not_other_patterns() -> None:
    stripes = np.zeros((1000, 1000, 3), np.uint8)
    stripes[:, ::2] = 255
    small = pixels_of(encoded(Image.fromarray(stripes), "PNG"), replace(LIMITS, frame_side_px=130))
    assert small.std() < 5
    assert abs(small.mean() - 127.5) < 5


@pytest.mark.parametrize("pillow_format", FORMATS)
def test_one_pixel_too_many_is_refused(pillow_format: str) -> None:
    content = encoded(noise(1, 64, 64), pillow_format)
    assert decode(content, replace(LIMITS, max_pixels=64 * 64))
    assert reason_of(content, replace(LIMITS, max_pixels=64 * 64 - 1)) is Reason.TOO_MANY_PIXELS


@pytest.mark.parametrize("side", [10_000, 20_000, 2**31 - 1])
def test_a_bomb_is_refused_before_it_is_decoded(side: int) -> None:
    assert reason_of(png_of_size(side, side)) is Reason.TOO_MANY_PIXELS


def test_pillows_own_limits_are_left_as_they_are() -> None:
    before = Image.MAX_IMAGE_PIXELS
    decode(encoded(noise(1), "PNG"), replace(LIMITS, max_pixels=10**12))
    assert before == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", Reason.EMPTY_FILE),
        (b"<html>not found</html>", Reason.UNKNOWN_FORMAT),
        (b"\xff\xd8\xff", Reason.BROKEN_FILE),
        (b"\x89PNG\r\n\x1a\n", Reason.BROKEN_FILE),
        (b"GIF89a", Reason.BROKEN_FILE),
        (b"RIFF\0\0\0\0WEBPVP8 ", Reason.BROKEN_FILE),
        (b"BM\0\0\0\0\0\0\0\0", Reason.BROKEN_FILE),
        (b"\0\0\0\x14ftypavif\0\0\0\0mif1", Reason.BROKEN_FILE),
        (b"GIF89a\1\0\1\0\0\0\0;", Reason.NO_KEY_FRAME),
        (b"GIF89a\1\0\1\0\x80\0\0\0\0\0\0\0\0;", Reason.NO_KEY_FRAME),
        (png_of_size(100, 100), Reason.BROKEN_FILE),
    ],
)
def test_what_is_no_picture_has_its_reason(content: bytes, reason: Reason) -> None:
    assert reason_of(content) is reason


@pytest.mark.parametrize("pillow_format", FORMATS)
def test_a_truncated_still_is_broken_and_not_half_a_picture(pillow_format: str) -> None:
    content = encoded(noise(1, 200, 200), pillow_format)
    assert reason_of(content[: len(content) * 2 // 3]) is Reason.BROKEN_FILE


def test_limits_come_from_the_settings() -> None:
    assert Limits.from_settings(Settings()) == LIMITS
    assert Limits.from_settings(Settings(trim_letterbox=True)).trim_letterbox


def test_a_picture_that_is_an_archive_too_is_refused() -> None:
    with BytesIO() as buffer, zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("evil.class", "")
        archive.close()
        assert reason_of(encoded(noise(1), "JPEG") + buffer.getvalue()) is Reason.POLYGLOT


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        av.error.MemoryError(12, "Cannot allocate memory"),
        OSError("out of memory error when reading image file"),
        RuntimeError("Memory allocation error: Unspecified: Allocating 6280015 bytes failed"),
        RuntimeError("Pixel allocation failed: Out of memory"),
    ],
)
def test_a_decoder_without_memory_is_not_called_a_broken_file(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("streamapp.media.decode.read_image", fail)
    assert reason_of(encoded(noise(1), "PNG")) is Reason.DECODE_MEMORY


def test_the_rare_decoders_are_imported_when_they_are_needed() -> None:
    script = "import sys, streamapp.media.decode; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    modules = done.stdout.split()
    for heavy in ("av", "pillow_heif", "streamapp.settings", "aiohttp", "cv2", "torch"):
        assert heavy not in modules


@cache
def samples() -> tuple[bytes, ...]:
    stills = [encoded(noise(1, 24, 24), pillow_format) for pillow_format in FORMATS]
    frames = [noise(seed, 24, 24) for seed in range(4)]
    exif = Image.Exif()
    exif[0x0112] = 6
    with_extras = [
        encoded(noise(1, 24, 24), pillow_format, exif=exif, icc_profile=swapped_profile())
        for pillow_format in ("JPEG", "PNG", "WEBP", "AVIF")
    ]
    stills.append(heic(noise(1, 24, 24)))
    return (*stills, *with_extras, *(animation(frames, name, 700) for name in ("GIF", "WEBP", "PNG", "AVIF")))


def decode_or_refuse(content: bytes) -> Picture | None:
    """Anything but a picture or a MediaError fails the test."""
    try:
        picture = decode(content, Limits(max_pixels=100_000, frame_side_px=64))
    except MediaError:
        return None
    assert picture.frames
    assert all(frame.pixels.ndim == 3 and frame.pixels.flags.c_contiguous for frame in picture.frames)
    return picture


@hypothesis_settings(max_examples=150, deadline=None)
@given(st.sampled_from(range(16)), st.data())
def test_a_truncation_is_a_picture_or_a_media_error(which: int, data: st.DataObject) -> None:
    content = samples()[which]
    decode_or_refuse(content[: data.draw(st.integers(0, len(content)))])


@hypothesis_settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(range(16)),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=8),
)
def test_flipped_bytes_are_a_picture_or_a_media_error(which: int, flips: list[tuple[float, int]]) -> None:
    content = bytearray(samples()[which])
    for share, value in flips:
        # Squared, because the headers are where the parsers are.
        content[int(share**2 * len(content))] = value
    decode_or_refuse(bytes(content))


MAGIC = (
    b"",
    b"\xff\xd8\xff\xe1",
    b"\x89PNG\r\n\x1a\n",
    b"GIF89a",
    b"RIFF\x40\0\0\0WEBP",
    b"BM\0\0\0\0\0\0\0\0",
)


@hypothesis_settings(max_examples=200, deadline=None)
@given(st.sampled_from(MAGIC), st.binary(max_size=200))
def test_random_bytes_are_a_media_error(magic: bytes, content: bytes) -> None:
    decode_or_refuse(magic + content)


def test_silence_ends_with_its_last_user_and_covers_only_pillow() -> None:
    filters = list(warnings.filters)
    entered, leave = threading.Event(), threading.Event()

    def overlap() -> None:
        with silenced():
            entered.set()
            leave.wait(5)

    thread = threading.Thread(target=overlap)
    with silenced():
        thread.start()
        assert entered.wait(5)
    # The first user has gone and the second is still there.
    assert list(warnings.filters) != filters
    with pytest.warns(UserWarning, match="ours"):
        warnings.warn("ours", UserWarning, stacklevel=1)
    leave.set()
    thread.join(5)
    assert list(warnings.filters) == filters
