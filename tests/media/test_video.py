"""Videos: upright, at their times, within budgets, and from their own bytes alone."""

import asyncio
import gc
import struct
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.bitstream import BitStreamFilterContext
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pictures import noise, quadrants
from PIL import Image
from test_decode import decode_or_refuse, reason_of
from videos import CODECS, audio, video

from streamapp.media.decode import Limits, decode
from streamapp.media.key_frames import Shown
from streamapp.media.video_frames import timed
from streamapp.reasons import Reason

LIMITS = Limits()
CONTAINERS = tuple(CODECS)
MEDIA_TYPES = {
    "mp4": "video/mp4",
    "mov": "video/quicktime",
    "webm": "video/webm",
    "matroska": "video/x-matroska",
}


def pictures(count: int, each: int = 1) -> list[Image.Image]:
    return [noise(number // each, 96, 64, 16) for number in range(count)]


def shown(content: bytes, limits: Limits = LIMITS) -> list[tuple[int, float]]:
    return [(frame.index, frame.time_s) for frame in decode(content, limits).frames]


def mean_difference(pixels: np.ndarray, image: Image.Image) -> float:
    return float(np.abs(pixels.astype(int) - np.asarray(image, dtype=int)).mean())


@pytest.mark.parametrize("container", CONTAINERS)
def test_every_container_gives_rgb_frames_with_their_numbers_and_times(container: str) -> None:
    images = pictures(5)
    picture = decode(video(images, container), LIMITS)
    assert picture.media_type == MEDIA_TYPES[container]
    assert (picture.width_px, picture.height_px, picture.frames_complete) == (96, 64, True)
    assert [(frame.index, frame.time_s) for frame in picture.frames] == [(n, n / 10) for n in range(5)]
    for frame, image in zip(picture.frames, images, strict=True):
        assert frame.pixels.flags.c_contiguous
        assert frame.pixels.flags.writeable
        assert mean_difference(frame.pixels, image) < 10


@pytest.mark.parametrize(
    ("codec", "container", "pixel_format"),
    [
        ("libx265", "mp4", "yuv420p10le"),
        ("libvpx", "webm", "yuv420p"),
        ("libsvtav1", "mp4", "yuv420p"),
        ("mjpeg", "mov", "yuvj420p"),
        ("mpeg4", "3gp", "yuv420p"),
        ("prores_ks", "mov", "yuv422p10le"),
    ],
)
def test_what_phones_and_browsers_write_is_read(codec: str, container: str, pixel_format: str) -> None:
    images = [noise(number, 128, 96, 32) for number in range(2)]
    # With threads of its own x265 gives packets of so short a video no time, where the machine is busy.
    x265 = {"x265-params": "log-level=none:frame-threads=1:pools=none:bframes=0"}
    options = {"libx265": x265, "libsvtav1": {"preset": "12"}}.get(codec, {})
    content = video(images, container, codec=codec, pixel_format=pixel_format, **options)
    frames = decode(content, LIMITS).frames
    assert [frame.index for frame in frames] == [0, 1]
    assert mean_difference(frames[0].pixels, images[0]) < 12


def test_a_codec_that_nobody_uploads_is_not_run() -> None:
    assert reason_of(video(pictures(2), "matroska", codec="ffv1")) is Reason.UNKNOWN_FORMAT


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_the_display_matrix_is_obeyed(degrees: int, mirrored: bool) -> None:
    stored = quadrants().resize((128, 64), Image.Resampling.NEAREST)
    # First turned against the clock, then mirrored.
    upright = stored.rotate(degrees, expand=True)
    upright = upright.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else upright
    picture = decode(video([stored], rotation=degrees, mirrored=mirrored), LIMITS)
    assert (picture.width_px, picture.height_px) == upright.size
    seen, expected = picture.frames[0].pixels[16::32, 16::32], np.asarray(upright)[16::32, 16::32]
    assert np.abs(seen.astype(int) - expected.astype(int)).max() < 40


def with_orientation_message(content: bytes, degrees: int) -> bytes:
    """The same video with H.264's own display orientation, which browsers don't know."""
    buffer = BytesIO()
    with av.open(BytesIO(content)) as source, av.open(buffer, "w", format="mp4") as output:
        stream = source.streams.video[0]
        copy = output.add_stream_from_template(stream)
        rule = f"h264_metadata=display_orientation=insert:rotate={degrees}"
        change = BitStreamFilterContext(rule, stream, copy)
        for packet in source.demux(stream):
            # The last one, of no bytes, has no time.
            for changed in change.filter(packet) if packet.dts is not None else ():
                changed.stream = copy
                output.mux(changed)
    return buffer.getvalue()


@pytest.mark.parametrize("version", [0, 2])
@pytest.mark.parametrize("degrees", [90, 180])
def test_a_turn_that_only_the_decoder_knows_of_is_not_obeyed(degrees: int, version: int) -> None:
    stored = quadrants().resize((128, 64), Image.Resampling.NEAREST)
    content = with_orientation_message(video([stored]), degrees)
    at = content.index(b"tkhd") + 4
    content = content[:at] + bytes([version]) + content[at + 1 :]
    with av.open(BytesIO(content)) as container:
        assert next(container.decode(video=0)).rotation
    picture = decode(content, LIMITS)
    assert (picture.width_px, picture.height_px) == stored.size
    assert mean_difference(picture.frames[0].pixels, stored) < 20


def test_the_matrix_of_the_whole_movie_is_obeyed_too() -> None:
    stored = quadrants().resize((128, 64), Image.Resampling.NEAREST)
    content = bytearray(video([stored]))
    # a and d of the matrix in the movie's header, behind its length, kind, version and nine numbers.
    at = content.index(b"mvhd") + 4 + 36
    for place in (at, at + 16):
        content[place : place + 4] = (-65536).to_bytes(4, "big", signed=True)
    picture = decode(bytes(content), LIMITS)
    assert mean_difference(picture.frames[0].pixels, stored.transpose(Image.Transpose.ROTATE_180)) < 20


def transparent_video(container: str, codec: str, pixel_format: str, **options: str) -> bytes:
    """A video in which nothing but the transparency makes a picture."""
    shape = np.zeros((64, 64, 4), np.uint8)
    shape[:, 32:, 3] = 255
    buffer = BytesIO()
    with av.open(buffer, "w", format=container) as output:
        stream: Any = output.add_stream(codec, rate=10, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 64, pixel_format
        for _ in range(2):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(shape, "rgba")))
        output.mux(stream.encode(None))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("container", "codec", "pixel_format", "options"),
    [
        ("webm", "libvpx-vp9", "yuva420p", {"auto-alt-ref": "0"}),
        ("webm", "libvpx", "yuva420p", {"auto-alt-ref": "0"}),
        ("mov", "prores_ks", "yuva444p10le", {}),
    ],
)
def test_a_video_that_is_transparent_is_refused(
    container: str, codec: str, pixel_format: str, options: dict[str, str]
) -> None:
    content = transparent_video(container, codec, pixel_format, **options)
    assert reason_of(content) is Reason.UNKNOWN_FORMAT


def test_wide_pixels_are_shown_wide() -> None:
    picture = decode(video([noise(1, 96, 64, 16)], pixel_aspect=Fraction(2, 1)), LIMITS)
    assert (picture.width_px, picture.height_px) == (192, 64)
    wide = noise(1, 96, 64, 16).resize((192, 64), Image.Resampling.NEAREST)
    assert mean_difference(picture.frames[0].pixels, wide) < 12


@pytest.mark.parametrize("side_px", [64, 720])
def test_colours_are_those_of_a_player(side_px: int) -> None:
    """Of unnamed colours, those of SD are BT.601's and those of HD are BT.709's."""
    image = Image.new("RGB", (side_px, side_px), (255, 0, 0))
    content = video([image], pixel_format="yuv444p", codec="libx264", qp="0")
    # The encoder's input was made by the matrix of SD.
    red, green, blue = decode(content, LIMITS).frames[0].pixels[side_px // 2, side_px // 2].astype(int)
    expected = (253, 0, 0) if side_px < 577 else (255, 24, 0)
    assert max(abs(red - expected[0]), abs(green - expected[1]), abs(blue - expected[2])) <= 6


def test_white_and_black_are_white_and_black_in_either_range() -> None:
    half = Image.new("RGB", (64, 64), "white")
    half.paste("black", (0, 0, 32, 64))
    for codec, pixel_format in (("libx264", "yuv420p"), ("mjpeg", "yuvj420p")):
        content = video([half], "mov", codec=codec, pixel_format=pixel_format)
        pixels = decode(content, LIMITS).frames[0].pixels
        assert pixels[:, :28].max() <= 6
        assert pixels[:, 36:].min() >= 249


def test_a_large_one_is_scaled_down_and_says_by_how_much() -> None:
    content = video([noise(1, 400, 200, 50)])
    (frame,) = decode(content, replace(LIMITS, frame_side_px=100)).frames
    assert (frame.pixels.shape, frame.scale) == ((50, 100, 3), 4.0)
    assert mean_difference(frame.pixels, noise(1, 400, 200, 50).resize((100, 50))) < 10


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_video_of_one_frame_is_a_picture(container: str) -> None:
    assert shown(video(pictures(1), container)) == [(0, 0.0)]


@pytest.mark.parametrize("container", ["mp4", "matroska"])
def test_frames_of_uneven_lengths_keep_their_times(container: str) -> None:
    content = video(pictures(4), container, times_ms=[7000, 7040, 9500, 9540])
    assert shown(content) == [(0, 0.0), (1, 0.04), (2, 2.5), (3, 2.54)]


def test_frames_that_an_edit_list_hides_are_looked_at() -> None:
    content = video(pictures(5), codec="mpeg4")
    at = content.index(b"elst") + 12
    # One edit: how long it lasts, in ms, and where it begins.
    hiding = content[:at] + (100).to_bytes(4, "big") + content[at + 4 :]
    with av.open(BytesIO(hiding)) as container:
        assert len(list(container.decode(video=0))) < 5
    assert [index for index, _ in shown(hiding)] == [0, 1, 2, 3, 4]


def test_hours_of_one_frame_are_two_frames() -> None:
    five_hours_ms = 5 * 3600 * 1000
    picture = decode(video(pictures(2), times_ms=[0, five_hours_ms]), LIMITS)
    assert [frame.time_s for frame in picture.frames] == [0.0, five_hours_ms / 1000]
    assert picture.frames_complete


def test_the_old_rule_chooses_one_frame_a_second() -> None:
    # Twelve scenes of 1 s: half of the places by time, evenly, the rest by difference.
    picture = decode(video(pictures(120, each=10)), LIMITS)
    assert len(picture.frames) == 8
    assert picture.frames[0].index == 0
    assert len({frame.index // 10 for frame in picture.frames}) == 8


def test_a_scene_that_stays_is_taken_once() -> None:
    picture = decode(video(pictures(60, each=20)), LIMITS)
    assert [frame.index // 20 for frame in picture.frames] == [0, 1, 2]
    assert picture.frames_complete


def test_behind_the_budget_one_key_frame_a_second_is_seen() -> None:
    # 16 frames of all, then 8 key frames.
    limits = replace(LIMITS, max_pixels=96 * 64, max_key_frames=20)
    content = video(pictures(400, each=40), key_every=5)
    picture = decode(content, limits)
    assert [frame.index for frame in picture.frames] == [0, 40, 80]
    assert [frame.time_s for frame in picture.frames] == [0.0, 4.0, 8.0]
    assert not picture.frames_complete


def test_the_end_of_a_long_video_is_seen_by_its_key_frames() -> None:
    limits = replace(LIMITS, max_pixels=96 * 64)
    images = [*pictures(60, each=60), *[noise(9, 96, 64, 16)] * 20]
    picture = decode(video(images, "matroska", key_every=20), limits)
    assert [(frame.index, frame.time_s) for frame in picture.frames] == [(0, 0.0), (60, 6.0)]
    assert mean_difference(picture.frames[1].pixels, images[-1]) < 10
    assert not picture.frames_complete


def test_play_time_is_bounded_once_there_are_more_frames_than_may_be_taken() -> None:
    picture = decode(video(pictures(100)), replace(LIMITS, max_media_seconds=2.0))
    assert max(frame.time_s for frame in picture.frames) <= 2.0
    assert not picture.frames_complete


def test_memory_does_not_grow_with_the_length() -> None:
    side_px, held = 256, 3 * LIMITS.max_key_frames + 2
    images = [noise(number, side_px, side_px, 32) for number in range(100)]
    content = video(images, codec="mpeg4")
    decode(content, LIMITS)
    tracemalloc.start()
    decode(content, LIMITS)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 1.2 * held * 3 * side_px**2


@pytest.mark.parametrize("container", ["mp4", "matroska"])
def test_frames_are_freed_as_they_pass(container: str) -> None:
    content = video(pictures(50), container, rotation=90)
    gc.collect()
    gc.disable()
    try:
        decode(content, LIMITS)
        alive = [thing for thing in gc.get_objects() if type(thing) is av.VideoFrame]
    finally:
        gc.enable()
    # At most the copy from which a display matrix was read.
    assert [frame for frame in alive if (frame.width, frame.height) != (2, 2)] == []


def test_a_file_of_sound_has_no_key_frame() -> None:
    assert reason_of(audio("mp4")) is Reason.NO_KEY_FRAME


def test_a_cover_is_no_video() -> None:
    content = audio("mp4", cover=noise(1))
    with av.open(BytesIO(content)) as container:
        assert len(container.streams.video) == 1
    assert reason_of(content) is Reason.NO_KEY_FRAME


def test_a_video_with_sound_is_a_video() -> None:
    assert shown(audio("mp4", images=pictures(3)))[-1] == (2, 0.2)


def test_of_two_videos_in_one_file_none_is_chosen() -> None:
    assert reason_of(audio("mp4", images=pictures(3), videos=2)) is Reason.POLYGLOT


@pytest.mark.parametrize("tenths", range(1, 10))
@pytest.mark.parametrize("container", CONTAINERS)
def test_a_truncated_video_is_refused_however_late_it_is_cut(container: str, tenths: int) -> None:
    content = sample(container)
    assert reason_of(content[: len(content) * tenths // 10]) is Reason.BROKEN_FILE


@pytest.mark.parametrize("tenths", range(1, 10))
def test_a_truncated_stream_of_fragments_is_refused(tenths: int) -> None:
    content = video(pictures(12), "mp4", key_every=3, muxer_options={"movflags": "frag_keyframe+empty_moov"})
    assert len(shown(content)) == 8
    assert reason_of(content[: len(content) * tenths // 10]) is Reason.BROKEN_FILE


def test_an_index_that_points_behind_the_end_is_broken() -> None:
    content = bytearray(sample("mp4"))
    at = content.index(b"stco") + 12
    content[at : at + 4] = (len(content) + 1000).to_bytes(4, "big")
    assert reason_of(bytes(content)) is Reason.BROKEN_FILE


def test_an_index_with_more_frames_than_the_file_is_broken() -> None:
    content = sample("mp4").replace(b"mdat", b"free", 1)
    assert len(shown(content)) == 8
    at = content.index(b"stsz") + 16
    # The last frame is said to be longer than all that is there.
    last = at + 4 * 11
    broken = content[:last] + b"\0\x7f\xff\xff" + content[last + 4 :]
    assert reason_of(broken) is Reason.BROKEN_FILE


@pytest.mark.parametrize("container", CONTAINERS)
def test_one_pixel_too_many_is_refused(container: str) -> None:
    content = sample(container)
    assert shown(content, replace(LIMITS, max_pixels=96 * 64))
    assert reason_of(content, replace(LIMITS, max_pixels=96 * 64 - 1)) is Reason.TOO_MANY_PIXELS


def vp8_of_size(content: bytes, number: int, width: int, height: int) -> bytes:
    """A VP8 video whose so-manieth key frame claims another size (RFC 6386, 9.1)."""
    at = -1
    for _ in range(number + 1):
        at = content.index(b"\x9d\x01\x2a", at + 1)
    return content[: at + 3] + struct.pack("<HH", width, height) + content[at + 7 :]


def test_a_frame_that_grows_later_is_refused() -> None:
    content = video(pictures(4), "webm", codec="libvpx", key_every=2)
    assert len(shown(content)) == 4
    limits = replace(LIMITS, max_pixels=96 * 64)
    assert reason_of(vp8_of_size(content, 1, 97, 64), limits) is Reason.TOO_MANY_PIXELS
    # So large that the decoder's own bound keeps it from taking the memory.
    assert reason_of(vp8_of_size(content, 1, 16_000, 16_000), limits) is Reason.BROKEN_FILE


def test_a_size_that_changes_midway_is_no_error() -> None:
    content = vp8_of_size(video(pictures(2), "webm", codec="libvpx", key_every=1), 1, 48, 64)
    first, second = decode(content, LIMITS).frames
    assert first.pixels.shape == (64, 96, 3)
    assert second.pixels.shape == (64, 48, 3)


def with_reference(content: bytes, kind: bytes, data: bytes) -> bytes:
    """A MOV whose first track says that its frames are in another file (ISO/IEC 14496-12, 8.7.2)."""
    at = content.index(b"dref") - 4
    old_bytes = int.from_bytes(content[at : at + 4], "big")
    entry = struct.pack(">I4sI", 12 + len(data), kind, 0) + data
    new = struct.pack(">I4sII", 16 + len(entry), b"dref", 0, 1) + entry
    changed = bytearray(content)
    for box in (b"moov", b"trak", b"mdia", b"minf", b"dinf"):
        size_at = content.rindex(box, 0, at) - 4
        size = int.from_bytes(content[size_at : size_at + 4], "big")
        changed[size_at : size_at + 4] = (size + len(new) - old_bytes).to_bytes(4, "big")
    changed[at : at + old_bytes] = new
    return bytes(changed)


def alias(path: bytes) -> bytes:
    """A Macintosh alias record, as QuickTime refers to files with."""
    name = path.rsplit(b"/", 1)[-1]
    head = bytes(10) + bytes([3]) + b"vol".ljust(27, b"\0") + bytes(12)
    head += bytes([len(name)]) + name.ljust(63, b"\0") + bytes(16) + struct.pack(">hh", 1, 1) + bytes(16)
    padded = path + bytes(len(path) % 2)
    return head + struct.pack(">hH", 2, len(path)) + padded + struct.pack(">hH", -1, 0)


def test_a_video_that_refers_to_a_file_does_not_get_it(tmp_path: Path) -> None:
    secret = tmp_path / "secret.mov"
    own = video(pictures(2), "mov", codec="mjpeg", pixel_format="yuvj420p")
    secret.write_bytes(own)
    content = with_reference(own, b"alis", alias(bytes(secret)))
    # libavformat would read it, had it been told to.
    asked_for: list[str] = []
    options = {"enable_drefs": "1", "use_absolute_path": "1"}
    with (
        pytest.raises(OSError, match="secret"),
        av.open(
            BytesIO(content), options=options, io_open=lambda url, *_: asked_for.append(url) or open(url)
        ),
    ):
        pass
    assert asked_for
    assert reason_of(content) is Reason.BROKEN_FILE


async def test_a_video_that_refers_to_a_url_does_not_ask_for_it() -> None:
    requests: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await reader.readline())
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        url = f"http://127.0.0.1:{port}/secret.mov".encode()
        own = video(pictures(2), "mov", codec="mjpeg", pixel_format="yuvj420p")
        for content in (with_reference(own, b"url ", url + b"\0"), with_reference(own, b"alis", alias(url))):
            await asyncio.to_thread(decode_or_refuse, content)
    assert requests == []


def test_playlists_are_no_videos() -> None:
    for content in (
        b"#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n",
        b"ffconcat version 1.0\nfile /etc/hostname\n",
    ):
        assert reason_of(content) is Reason.UNKNOWN_FORMAT


def frames_at(times: Sequence[int | None]) -> list[tuple[int, av.VideoFrame]]:
    frames = []
    for number, pts in enumerate(times):
        frame = av.VideoFrame(16, 16)
        frame.pts = pts
        frames.append((number, frame))
    return frames


@pytest.mark.parametrize(
    ("times", "starts_ms"),
    [
        ([0, 100, 200], [0, 100, 200]),
        ([-500, -400, 300], [0, 100, 800]),
        ([None, None, None], [0, 40, 80]),
        ([100, None, 300], [0, 40, 200]),
        ([0, 0, 0], [0, 1, 2]),
        ([500, 100, 600], [0, 1, 100]),
        ([0, 2**62, 5], [0, 2**62, 2**62 + 1]),
    ],
)
def test_time_goes_forward_whatever_the_file_says(times: list[int | None], starts_ms: list[int]) -> None:
    found = [shown for shown, _ in timed(frames_at(times), Fraction(1, 1000))]
    assert [shown.start_ms for shown in found] == starts_ms
    assert all(shown.length_ms >= 1 for shown in found)
    assert found[-1] == Shown(2, starts_ms[2], 40)


@cache
def sample(container: str) -> bytes:
    return video(pictures(12), container)


@hypothesis_settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(CONTAINERS),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=8),
    st.booleans(),
)
def test_flipped_bytes_are_a_picture_or_a_media_error(
    container: str, flips: list[tuple[float, int]], from_behind: bool
) -> None:
    content = bytearray(sample(container))
    for share, value in flips:
        # The tables are at the beginning or at the end.
        offset = int(share**2 * len(content))
        content[-1 - offset if from_behind else offset] = value
    decode_or_refuse(bytes(content))
