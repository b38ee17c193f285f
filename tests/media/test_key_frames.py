"""Which frames of an animation are looked at."""

import struct
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from pictures import animation, encoded, noise
from PIL import Image
from PIL.GifImagePlugin import GifImageFile

from streamapp.errors import MediaError
from streamapp.media import Frame
from streamapp.media.decode import Limits, decode
from streamapp.media.difference import Candidate
from streamapp.media.key_frames import KeyFrames, OnePerSecond, Scenes, Shown
from streamapp.media.rendering import look
from streamapp.media.similarity import structural_similarity, thumbnail
from streamapp.reasons import Reason

LIMITS = Limits()
ANIMATED = ("GIF", "WEBP", "PNG", "AVIF")
LOSSLESS: dict[str, dict[str, Any]] = {"GIF": {}, "PNG": {}, "WEBP": {"lossless": True}}


class HeldFrame(Frame):
    """A frame of which can be told whether it is still held."""

    __slots__ = ("__weakref__",)


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


def candidate_of(image: Image.Image, index: int = 0) -> Candidate:
    return Candidate(Frame(np.asarray(image), index, float(index)), look(image))


def indices(candidates: list[Candidate]) -> list[int]:
    return [candidate.frame.index for candidate in candidates]


def by_time(images: list[Image.Image], max_frames: int = 8) -> list[int]:
    """What the rule of one sample per second chooses from such samples."""
    chosen_scenes = Scenes(max_frames)
    for index, image in enumerate(images):
        chosen_scenes.add(candidate_of(image, index))
    return indices(chosen_scenes.chosen.candidates)


def with_a_spot(image: Image.Image, seed: int) -> Image.Image:
    """The same picture with a spot of its own, so that no two are equal."""
    at, colours = np.random.default_rng(seed).integers(0, 58, 2), noise(1000 + seed, 6, 6, block_px=6)
    image = image.copy()
    image.paste(colours, (int(at[0]), int(at[1])))
    return image


@pytest.mark.parametrize("pillow_format", ANIMATED)
def test_every_frame_is_looked_at_where_they_are_few(pillow_format: str) -> None:
    content = animation(scenes(8), pillow_format, 500)
    assert [index for index, _ in chosen(content)] == list(range(8))
    assert decode(content, LIMITS).frames_complete


@pytest.mark.parametrize("pillow_format", ANIMATED)
@pytest.mark.parametrize("lengths_ms", [[510, 490], [980, 20], [60_000, 100], [600_000, 100]])
def test_a_second_frame_is_looked_at_however_short_or_late(pillow_format: str, lengths_ms: list[int]) -> None:
    picture = decode(animation(scenes(2), pillow_format, lengths_ms), LIMITS)
    assert [frame.time_s for frame in picture.frames] == [0.0, lengths_ms[0] / 1000]
    assert picture.frames_complete


@pytest.mark.parametrize("pillow_format", ["GIF", "PNG", "WEBP"])
def test_frames_that_come_back_are_looked_at_once(pillow_format: str) -> None:
    content = animation(scenes(2) * 50, pillow_format, [510, 490] * 50)
    assert [index for index, _ in chosen(content)] == [0, 1]


@pytest.mark.parametrize("others", [scene, lambda _: slight_changes(4)[3]], ids=["scene", "detail"])
@pytest.mark.parametrize("pillow_format", ANIMATED)
def test_what_is_shown_half_of_every_second_is_seen_though_no_two_frames_are_equal(
    pillow_format: str, others: Callable[[int], Image.Image]
) -> None:
    images = [with_a_spot(others(1) if seed % 2 else noise(0), seed) for seed in range(40)]
    content = animation(images, pillow_format, [510, 490] * 20)
    assert any(index % 2 for index, _ in chosen(content))


@pytest.mark.parametrize("at", [9, 25, 38])
def test_one_short_frame_late_among_many_that_are_alike_is_seen(at: int) -> None:
    images = [with_a_spot(noise(0), seed) for seed in range(40)]
    images[at] = slight_changes(4)[3].transpose(Image.Transpose.ROTATE_90)
    lengths_ms = [100] * 40
    lengths_ms[at] = 20
    assert at in [index for index, _ in chosen(animation(images, "PNG", lengths_ms))]


def test_what_is_shown_nearly_always_is_seen_though_the_rest_differs_more() -> None:
    images = [noise(seed, block_px=32) if seed % 2 else with_a_spot(noise(0), seed) for seed in range(40)]
    content = animation(images, "PNG", [980, 20] * 20)
    assert sum(index % 2 == 0 for index, _ in chosen(content)) >= 4


def test_of_many_scenes_those_that_are_taken_are_spread_over_the_clip() -> None:
    picture = decode(animation(scenes(24), "PNG", 1000), LIMITS)
    taken = [frame.index for frame in picture.frames]
    assert len(taken) == 8
    assert taken == sorted(set(taken))
    assert {index // 8 for index in taken} == {0, 1, 2}
    assert not picture.frames_complete


def test_a_clip_of_many_frames_and_few_scenes_is_complete() -> None:
    images = [with_a_spot(scene(seed // 10), seed) for seed in range(40)]
    picture = decode(animation(images, "PNG", 100), LIMITS)
    assert {frame.index // 10 for frame in picture.frames} == {0, 1, 2, 3}
    assert picture.frames_complete


@pytest.mark.parametrize("pillow_format", ANIMATED)
def test_the_frames_are_those_of_the_file(pillow_format: str) -> None:
    images = scenes(3)
    for frame in decode(animation(images, pillow_format, 1000), LIMITS).frames:
        expected = np.asarray(images[frame.index], dtype=int)
        assert np.abs(frame.pixels.astype(int) - expected).mean() < 25


def test_a_scene_that_is_among_the_last_three_kept_is_not_kept_again() -> None:
    # At index 3 scene 0 is the third last kept; at index 5 it no longer is, 1, 2 and 3 are.
    assert by_time([scene(seed) for seed in (0, 1, 2, 0, 3, 0)]) == [0, 1, 2, 4, 5]


def test_where_only_the_first_is_kept_all_samples_are_taken() -> None:
    assert by_time(slight_changes(5)) == [0, 1, 2, 3, 4]


def test_scenes_are_spread_over_the_clip_where_there_are_more_than_allowed() -> None:
    assert by_time(scenes(12)) == [0, 2, 4, 6, 8, 10]
    assert by_time(scenes(12), max_frames=1) == [0]


def test_samples_of_one_long_scene_are_spread_over_it() -> None:
    assert by_time(slight_changes(20), max_frames=5) == [0, 4, 8, 12, 16]


@pytest.mark.parametrize("pillow_format", ["GIF", "WEBP", "PNG"])
def test_a_frame_that_repeats_is_looked_at_once(pillow_format: str) -> None:
    still = [noise(0)] * 4
    still[2] = noise(0).copy()
    assert chosen(animation(still, pillow_format, 1000)) == [(0, 0.0)]


def test_the_frame_shown_longest_in_a_second_represents_it_beside_the_first() -> None:
    taken: list[Candidate] = []
    sampler = OnePerSecond(taken.append)
    start_ms = 0
    for index, length_ms in enumerate([20, 900, 60, 20, 2000]):
        sampler.offer(Shown(index, start_ms, length_ms), partial(candidate_of, scene(index), index))
        start_ms += length_ms
    sampler.finish()
    assert indices(taken) == [0, 1, 4, 4]


@pytest.mark.parametrize(("allowed", "taken"), [(1, [0]), (5, [0, 1, 2, 3, 4])])
def test_key_frames_are_no_more_than_allowed(allowed: int, taken: list[int]) -> None:
    picture = decode(animation(scenes(5), "PNG", 1000), replace(LIMITS, max_key_frames=allowed))
    assert [frame.index for frame in picture.frames] == taken
    assert picture.frames_complete is (allowed == 5)


@pytest.mark.parametrize(("seconds", "last"), [(3.0, 8), (10.0, 9)])
def test_of_many_frames_those_after_the_longest_time_are_not_decoded(
    seconds: float, last: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sought: list[int] = []
    seek = GifImageFile.seek

    def noting(self: GifImageFile, frame: int) -> None:
        sought.append(frame)
        seek(self, frame)

    content = animation(scenes(20), "GIF", 1000)
    monkeypatch.setattr(GifImageFile, "seek", noting)
    picture = decode(content, replace(LIMITS, max_media_seconds=seconds))
    # That there are more than may be taken shows at index 8.
    assert max(sought) == last
    assert not picture.frames_complete


@pytest.mark.parametrize("pillow_format", ["GIF", "PNG", "WEBP"])
def test_frames_without_a_length_do_not_stop_the_clock(pillow_format: str) -> None:
    times = [time_s for _, time_s in chosen(animation(scenes(5), pillow_format, 0))]
    assert times == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize(("frames", "is_complete"), [(8, True), (9, False)])
def test_an_animation_has_a_budget_of_pixels(frames: int, is_complete: bool) -> None:
    limits = replace(LIMITS, max_pixels=64 * 64, max_key_frames=20)
    picture = decode(animation(scenes(frames), "PNG", 1000), limits)
    assert (len(picture.frames), picture.frames_complete) == (8, is_complete)


@pytest.mark.parametrize(("frames", "is_complete"), [(5, True), (6, False)])
def test_an_animation_has_a_budget_of_frames(
    frames: int, is_complete: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamapp.media.images._ANIMATION_FRAMES", 5)
    picture = decode(animation(scenes(frames), "GIF", 1000), LIMITS)
    assert (len(picture.frames), picture.frames_complete) == (5, is_complete)


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
    with pytest.raises(MediaError) as caught:
        decode(bytes(content), replace(LIMITS, max_pixels=64 * 64))
    assert caught.value.reason is Reason.TOO_MANY_PIXELS
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


@pytest.mark.parametrize("pillow_format", ANIMATED)
def test_an_animation_that_is_cut_anywhere_is_a_broken_file(pillow_format: str) -> None:
    content = animation([scene(seed).resize((16, 16)) for seed in range(5)], pillow_format, 1000)
    # Nothing is shown of the last bytes of a PNG, which are the checksum of its empty end.
    for length in range(16, len(content) - (4 if pillow_format == "PNG" else 0), 7):
        assert broken(content[:length]) is Reason.BROKEN_FILE, length


@pytest.mark.parametrize("pillow_format", ["GIF", "PNG", "WEBP"])
def test_an_animation_whose_last_frame_is_damaged_is_a_broken_file(pillow_format: str) -> None:
    content = bytearray(animation(scenes(3), pillow_format, 1000, **LOSSLESS[pillow_format]))
    at = len(content) - 2000
    content[at : at + 600] = bytes(range(1, 201)) * 3
    assert broken(bytes(content)) is Reason.BROKEN_FILE


def broken(content: bytes) -> Reason:
    with pytest.raises(MediaError) as caught:
        decode(content, LIMITS)
    return caught.value.reason


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
    rendered: list[weakref.ref[Frame]] = []

    def render(image: Image.Image, index: int) -> Frame:
        frame = HeldFrame(np.asarray(image), index)
        rendered.append(weakref.ref(frame))
        return frame

    key_frames = KeyFrames(4, 60.0)
    for index in range(300):
        image = with_a_spot(scene(index // 3), index)
        key_frames.offer(Shown(index, 200 * index, 200), look(image), partial(render, image, index))
        assert sum(frame() is not None for frame in rendered) <= 3 * 4 + 2
    frames, is_complete = key_frames.selected()
    assert frames[0].index == 0
    assert frames[-1].index > 150
    assert not is_complete


def test_different_frames_of_the_same_number_are_all_taken() -> None:
    key_frames = KeyFrames(4, 60.0)
    for place, image in enumerate(scenes(12)):
        frame = Frame(np.asarray(image), 0, float(place))
        key_frames.offer(Shown(0, 1000 * place, 1000), look(image), partial(lambda frame: frame, frame))
    frames, _ = key_frames.selected()
    assert len({frame.time_s for frame in frames}) == 4


def test_without_a_frame_nothing_is_selected() -> None:
    OnePerSecond(lambda _: pytest.fail("There is no candidate.")).finish()
    assert KeyFrames(8, 60.0).selected() == ((), True)


def test_only_frames_that_may_be_taken_are_rendered_and_each_once() -> None:
    rendered: list[int] = []

    def render(index: int) -> Frame:
        rendered.append(index)
        return Frame(np.asarray(scene(index)), index)

    key_frames = KeyFrames(2, 60.0)
    looks = [look(scene(0)), look(noise(0, block_px=32)), look(with_a_spot(scene(0), 1))]
    for index in range(50):
        which = min(index, 2)
        key_frames.offer(Shown(index, 40 * index, 40), looks[which], partial(render, index))
    # The two that are farthest apart, and the one that stands for the second second.
    assert rendered == [0, 1, 25]


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
