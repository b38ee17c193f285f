"""Bars are cut off, and nothing else."""

import numpy as np
import pytest
from pictures import encoded, noise
from PIL import Image
from videos import video

from streamapp.media import Frame
from streamapp.media.decode import Limits, decode
from streamapp.media.letterbox import trimmed

PICTURE = np.asarray(noise(1, 80, 60))


def frame(top: int = 0, bottom: int = 0, left: int = 0, right: int = 0, value: int = 0) -> Frame:
    padded = np.pad(PICTURE, ((top, bottom), (left, right), (0, 0)), constant_values=value)
    return Frame(padded, index=3, time_s=0.5, scale=2.0)


@pytest.mark.parametrize("value", [0, 20, 235, 255])
@pytest.mark.parametrize(
    "bars", [(20, 20, 0, 0), (0, 0, 30, 30), (20, 0, 0, 0), (0, 5, 0, 9), (3, 40, 60, 4)]
)
def test_bars_are_cut_and_the_frame_says_where_it_lies(bars: tuple[int, int, int, int], value: int) -> None:
    cut = trimmed(frame(*bars, value=value))
    assert np.array_equal(cut.pixels, PICTURE)
    assert cut.pixels.flags.c_contiguous
    assert (cut.index, cut.time_s, cut.scale) == (3, 0.5, 2.0)
    assert cut.origin_px == (2.0 * bars[2], 2.0 * bars[0])


def test_a_line_at_the_edge_is_no_bar() -> None:
    whole = frame(1, 1, 1, 1)
    assert trimmed(whole) is whole


def test_bars_of_two_colours_are_cut() -> None:
    above = np.zeros((20, 80, 3), np.uint8)
    below = np.full((20, 80, 3), 255, np.uint8)
    cut = trimmed(Frame(np.concatenate([above, PICTURE, below])))
    assert np.array_equal(cut.pixels, PICTURE)


@pytest.mark.parametrize("value", [21, 100, 234])
def test_what_is_gray_is_no_bar(value: int) -> None:
    whole = frame(20, 20, value=value)
    assert trimmed(whole) is whole


@pytest.mark.parametrize("value", [0, 128, 255])
def test_a_frame_of_one_colour_stays(value: int) -> None:
    whole = Frame(np.full((50, 70, 3), value, np.uint8))
    assert trimmed(whole) is whole


def test_a_bar_with_one_pixel_in_it_is_a_part_of_the_picture() -> None:
    whole = frame(20, 20)
    whole.pixels[0, 40] = 255
    whole.pixels[-1, 40] = 90
    assert trimmed(whole) is whole


def test_a_small_picture_on_a_large_ground_stays() -> None:
    whole = frame(top=200, bottom=200)
    assert trimmed(whole) is whole


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (2, 2)])
def test_a_frame_of_a_few_pixels_stays(shape: tuple[int, int]) -> None:
    whole = Frame(np.zeros((*shape, 3), np.uint8))
    assert trimmed(whole) is whole


def boxed(image: Image.Image) -> Image.Image:
    canvas = Image.new("RGB", (image.width, 2 * image.height))
    canvas.paste(image, (0, image.height // 2))
    return canvas


def test_decode_cuts_bars_where_it_is_asked_to() -> None:
    image = boxed(noise(1, 200, 100, 25))
    content = encoded(image, "JPEG", quality=90)
    assert decode(content, Limits()).frames[0].pixels.shape == (200, 200, 3)
    picture = decode(content, Limits(trim_letterbox=True, frame_side_px=100))
    assert (picture.width_px, picture.height_px) == (200, 200)
    (cut,) = picture.frames
    # A line or two beside the edge are neither black nor picture.
    assert 50 <= cut.pixels.shape[0] <= 52
    assert cut.pixels.shape[1] == 100
    assert cut.origin_px[0] == 0
    assert 48 <= cut.origin_px[1] <= 50


def test_the_bars_of_each_frame_of_a_video_are_its_own() -> None:
    wide, full = boxed(noise(1, 96, 48, 16)), noise(2, 96, 96, 16)
    shapes = [f.pixels.shape for f in decode(video([wide, full]), Limits(trim_letterbox=True)).frames]
    assert shapes[1] == (96, 96, 3)
    assert 48 <= shapes[0][0] <= 52
