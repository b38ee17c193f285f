"""Lengths that a file gives are compared with what it has."""

import pytest
from pictures import heic, noise
from videos import video

from streamapp.errors import MediaError
from streamapp.media.boxes import Box, missing_bytes, top_level_boxes
from streamapp.media.decode import Limits, decode
from streamapp.reasons import Reason


def test_boxes_of_all_three_lengths_are_walked() -> None:
    content = b"\0\0\0\x08free" + b"\0\0\0\1wide\0\0\0\0\0\0\0\x12??" + b"\0\0\0\0mdat????"
    assert list(top_level_boxes(content)) == [
        Box(b"free", 0, 8),
        Box(b"wide", 8, 26),
        Box(b"mdat", 26, 38),
    ]


@pytest.mark.parametrize("content", [b"", b"\0\0\0\7moov", b"\0\0\0\1moov", b"\0\0\0\x10mdat", b"\xff" * 64])
def test_what_has_no_boxs_form_ends_the_walk(content: bytes) -> None:
    assert len(list(top_level_boxes(content))) <= 1


@pytest.mark.parametrize("container", ["mp4", "mov", "matroska", "webm"])
def test_a_whole_file_misses_nothing_and_a_cut_one_does(container: str) -> None:
    content = video([noise(1), noise(2)], container)
    assert missing_bytes(content) == 0
    assert missing_bytes(content[:-10]) == 10


def test_stray_bytes_behind_a_file_are_not_missed() -> None:
    assert missing_bytes(video([noise(1)]) + b"\x7f\xff\xff\xffSEFT") == 0
    assert missing_bytes(heic(noise(1)) + b"stray") == 0


def test_a_live_recording_has_no_length() -> None:
    content = video([noise(1)], "webm", muxer_options={"live": "1"})
    assert missing_bytes(content[:-10]) == 0


@pytest.mark.parametrize("brand", [b"isom", b"avif", b"heic"])
def test_a_file_of_too_many_boxes_is_refused_however_it_is_read(brand: bytes) -> None:
    content = b"\0\0\0\x14ftyp" + brand + b"\0\0\0\0" + brand + b"\0\0\0\x08free" * 20_000
    with pytest.raises(MediaError, match="boxes on one level") as caught:
        decode(content, Limits())
    assert caught.value.reason is Reason.BROKEN_FILE
