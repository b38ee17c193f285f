"""Which frames of an animation are looked at."""

import struct
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from pictures import animation, encoded, noise
from PIL import Image
from PIL.GifImagePlugin import GifImageFile

from streamapp.errors import MediaError
from streamapp.media import Frame
from streamapp.media.decode import Limits, decode
from streamapp.media.key_frames import KeyFrames, OnePerSecond, Shown
from streamapp.media.similarity import structural_similarity, thumbnail
from streamapp.reasons import Reason

LIMITS = Limits()
ANIMATED = ("GIF", "WEBP", "PNG", "AVIF")


def scene(seed: int) -> Image.Image:
    return noise(seed, block_px=4)


def scenes(count: int) -> list[Image.Image]:
    return [scene(seed) for seed in range(count)]


def slight_changes(count: int) -> list[Image.Image]:
    """One scene in which a small square moves."""
    images = []
    for i in range(count):
        image = noise(0)
        image.paste((255, 0, 0), (2 * i, 2 * i, 2 * i + 6, 2 * i + 6))
        images.append(image)
    return images


def chosen(content: bytes, limits: Limits = LIMITS) -> list[tuple[int, float]]:
    return [(frame.index, frame.time_s) for frame in decode(content, limits).frames]


def frame_of(value: int, index: int) -> Frame:
    return Frame(np.full((64, 64, 3), value, np.uint8), index)


@pytest.mark.parametrize("pillow_format", ANIMATED)
def test_scenes_are_sampled_once_per_second(pillow_format: str) -> None:
    content = animation(scenes(8), pillow_format, 500)
    assert chosen(content) == [(0, 0.0), (2, 1.0), (4, 2.0), (6, 3.0)]


@pytest.mark.parametrize("pillow_format", ANIMATED)
def test_the_frames_are_those_of_the_file(pillow_format: str) -> None:
    images = scenes(3)
    for frame in decode(animation(images, pillow_format, 1000), LIMITS).frames:
        expected = np.asarray(images[frame.index], dtype=int)
        assert np.abs(frame.pixels.astype(int) - expected).mean() < 25


def test_a_scene_that_is_among_the_last_three_kept_is_not_kept_again() -> None:
    images = [scene(seed) for seed in (0, 1, 2, 0, 3, 0)]
    # At index 3 scene 0 is the third last kept; at index 5 it no longer is, 1, 2 and 3 are.
    assert chosen(animation(images, "PNG", 1000)) == [(0, 0.0), (1, 1.0), (2, 2.0), (4, 4.0), (5, 5.0)]


def test_where_only_the_first_is_kept_all_samples_are_taken() -> None:
    content = animation(slight_changes(5), "PNG", 1000)
    assert [index for index, _ in chosen(content)] == [0, 1, 2, 3, 4]


def test_samples_of_one_long_scene_are_spread_over_it() -> None:
    content = animation(slight_changes(20), "PNG", 1000)
    assert [index for index, _ in chosen(content, replace(LIMITS, max_key_frames=5))] == [0, 4, 8, 12, 16]


@pytest.mark.parametrize("pillow_format", ["GIF", "WEBP", "PNG"])
def test_a_frame_that_repeats_is_looked_at_once(pillow_format: str) -> None:
    still = [noise(0)] * 4
    still[2] = noise(0).copy()
    assert chosen(animation(still, pillow_format, 1000)) == [(0, 0.0)]


def test_a_frame_on_display_for_long_is_looked_at_once() -> None:
    content = animation(scenes(3), "PNG", [5000, 200, 4000])
    assert chosen(content) == [(0, 0.0), (2, 5.2)]


def test_the_frame_shown_longest_in_a_second_represents_it_beside_the_first() -> None:
    content = animation(scenes(4), "PNG", [20, 900, 60, 20])
    assert [index for index, _ in chosen(content)] == [0, 1]


def test_key_frames_are_no_more_than_allowed() -> None:
    content = animation(scenes(6), "PNG", 1000)
    assert [index for index, _ in chosen(content, replace(LIMITS, max_key_frames=2))] == [0, 1]
    assert [index for index, _ in chosen(content, replace(LIMITS, max_key_frames=1))] == [0]


def test_what_comes_after_the_longest_time_is_not_decoded() -> None:
    content = animation(scenes(6), "PNG", 1000)
    assert [index for index, _ in chosen(content, replace(LIMITS, max_media_seconds=3.0))] == [0, 1, 2]


@pytest.mark.parametrize("pillow_format", ["GIF", "PNG", "WEBP"])
def test_frames_without_a_length_do_not_stop_the_clock(pillow_format: str) -> None:
    content = animation(scenes(25), pillow_format, 0)
    assert [index for index, _ in chosen(content)] == [0, 10, 20]


def test_an_animation_has_a_budget_of_pixels() -> None:
    content = animation(scenes(20), "PNG", 1000)
    limits = replace(LIMITS, max_pixels=64 * 64, max_key_frames=20)
    assert len(chosen(content, limits)) == 8


def test_a_later_frame_that_enlarges_the_canvas_is_not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    content = bytearray(animation(scenes(2), "GIF", 1000))
    # After the 8 bytes of the graphic control extension: ",", left, top, width, height.
    descriptor = content.rindex(b"\x21\xf9\x04") + 8
    content[descriptor + 5 : descriptor + 9] = struct.pack("<HH", 5000, 5000)
    loaded: list[int] = []
    load = GifImageFile.load

    def noting(self: GifImageFile) -> object:
        loaded.append(self.width * self.height)
        return load(self)

    monkeypatch.setattr(GifImageFile, "load", noting)
    assert chosen(bytes(content), replace(LIMITS, max_pixels=64 * 64)) == [(0, 0.0)]
    assert set(loaded) == {64 * 64}


def test_the_files_own_count_of_frames_is_never_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(_: Image.Image) -> int:
        raise AssertionError("n_frames walks the whole file")

    content = animation(scenes(3), "GIF", 1000)
    monkeypatch.setattr("PIL.GifImagePlugin.GifImageFile.n_frames", property(forbidden))
    assert len(chosen(content)) == 3


def test_the_default_picture_of_an_animated_png_is_looked_at() -> None:
    content = animation(scenes(3), "PNG", 1000, default_image=True)
    assert [index for index, _ in chosen(content)] == [0, 1, 2]


@pytest.mark.parametrize("pillow_format", ["GIF", "WEBP", "PNG"])
def test_a_break_in_the_middle_leaves_the_frames_before_it(pillow_format: str) -> None:
    content = animation(scenes(6), pillow_format, 1000)
    cut = content[: len(content) * 3 // 5]
    try:
        indices = [index for index, _ in chosen(cut)]
    except MediaError as exc:
        # WebP's container is checked as a whole before its first frame.
        assert (pillow_format, exc.reason) == ("WEBP", Reason.BROKEN_FILE)
    else:
        assert indices[0] == 0
        assert 1 <= len(indices) < 6


def test_a_break_in_the_first_frame_is_a_broken_file() -> None:
    content = animation(scenes(3), "GIF", 1000)
    with pytest.raises(MediaError) as caught:
        decode(content[: len(content) // 6], LIMITS)
    assert caught.value.reason is Reason.BROKEN_FILE


def test_a_gif_is_composited_as_a_viewer_shows_it() -> None:
    # Pillow stores only what changes between frames, so that a frame alone is no picture.
    images = slight_changes(3)
    content = animation(images, "GIF", 1000)
    for frame, image in zip(decode(content, LIMITS).frames, images, strict=True):
        assert np.abs(frame.pixels.astype(int) - np.asarray(image, dtype=int)).mean() < 25


def test_transparency_of_an_animation_is_white() -> None:
    images = [Image.new("RGBA", (16, 16), (255, 0, 0, alpha)) for alpha in (0, 255)]
    first, second = decode(animation(images, "WEBP", 1000, lossless=True), LIMITS).frames
    assert (first.pixels == 255).all()
    assert (second.pixels == (255, 0, 0)).all()


def test_further_pictures_in_a_jpeg_are_no_frames() -> None:
    content = encoded(noise(0), "MPO", save_all=True, append_images=[noise(1)])
    picture = decode(content, LIMITS)
    assert picture.media_type == "image/jpeg"
    assert len(picture.frames) == 1


def test_few_frames_are_held_however_long_the_clip_is() -> None:
    key_frames = KeyFrames(4)
    for index in range(1000):
        key_frames.add(frame_of(100 + index % 2, index))
        assert len(key_frames._samples) + len(key_frames._kept) <= 5
    indices = [frame.index for frame in key_frames.selected()]
    assert indices[0] == 0
    assert len(indices) == 3 or indices[-1] > 500


def test_without_a_sample_nothing_is_selected() -> None:
    taken: list[Frame] = []
    sampler = OnePerSecond(taken.append)
    sampler.finish()
    assert sampler.is_empty
    assert not taken
    assert KeyFrames(8).selected() == ()


def test_only_candidates_are_rendered() -> None:
    rendered: list[int] = []

    def render(index: int) -> Frame:
        rendered.append(index)
        return frame_of(index, index)

    taken: list[Frame] = []
    sampler = OnePerSecond(taken.append)
    for index in range(50):
        sampler.offer(Shown(index, 40 * index, 40), lambda index=index: render(index))  # type: ignore[misc]
    sampler.finish()
    assert rendered == [0, 25]
    assert [frame.index for frame in taken] == [0, 0, 25]


def similarity_by_definition(a: np.ndarray, b: np.ndarray) -> float:
    """SSIM window by window, as the paper writes it."""

    def windows() -> Iterator[float]:
        for i in range(a.shape[0] - 6):
            for j in range(a.shape[1] - 6):
                x, y = a[i : i + 7, j : j + 7].ravel(), b[i : i + 7, j : j + 7].ravel()
                (var_x, cov), (_, var_y) = np.cov(x, y)
                luminance = (2 * x.mean() * y.mean() + 6.5025) / (x.mean() ** 2 + y.mean() ** 2 + 6.5025)
                yield luminance * (2 * cov + 58.5225) / (var_x + var_y + 58.5225)

    return float(np.mean(list(windows())))


def test_structural_similarity_is_that_of_the_paper() -> None:
    rng = np.random.default_rng(5)
    a = rng.uniform(0, 255, (20, 24))
    b = np.clip(a + rng.normal(0, 40, a.shape), 0, 255)
    assert structural_similarity(a, b) == pytest.approx(similarity_by_definition(a, b), abs=1e-9)
    assert structural_similarity(a, a) == pytest.approx(1.0)
    assert structural_similarity(a, b) == pytest.approx(structural_similarity(b, a))


def test_a_thumbnail_is_luma_of_64_by_64() -> None:
    small = thumbnail(np.full((100, 30, 3), (255, 0, 0), np.uint8))
    assert small.shape == (64, 64)
    assert small == pytest.approx(76.0)


def test_test_scenes_differ_enough_for_the_rule() -> None:
    small = [thumbnail(np.asarray(image)) for image in scenes(20)]
    pairs = [structural_similarity(a, b) for i, a in enumerate(small) for b in small[:i]]
    assert max(pairs) < 0.3
