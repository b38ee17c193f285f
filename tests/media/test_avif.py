"""AVIF sequences: their track and their still picture are both looked at."""

import struct

import numpy as np
import pytest
from pictures import animation, encoded, noise
from PIL import Image
from test_decode import reason_of

from streamapp.media.boxes import top_level_boxes
from streamapp.media.decode import Limits, decode
from streamapp.reasons import Reason

LIMITS = Limits()


def sequence(seeds: tuple[int, ...] = (1, 2)) -> bytes:
    return animation([noise(seed) for seed in seeds], "AVIF", 500, speed=10)


def with_other_still(content: bytes, still: bytes) -> bytes:
    """The sequence with the still picture's items, whose data are appended."""
    end = len(content)
    boxes = {box.kind: still[box.start : box.end] for box in top_level_boxes(still)}
    meta = bytearray(boxes[b"meta"])
    # Items are found by one offset each, from the file's beginning.
    (data_at,) = (box.start for box in top_level_boxes(still) if box.kind == b"mdat")
    moved = end + 8 - (data_at + 8)
    at = meta.index(b"iloc") + 8
    assert meta[at] == 0x44
    items = struct.unpack_from(">H", meta, at + 2)[0]
    for place in range(at + 4, at + 4 + 14 * items, 14):
        offset = struct.unpack_from(">I", meta, place + 6)[0]
        struct.pack_into(">I", meta, place + 6, offset + moved)
    (old,) = (box for box in top_level_boxes(content) if box.kind == b"meta")
    # The track's own offsets stay true where the new box is as long as the old one.
    padding = (old.end - old.start) - len(meta)
    free = struct.pack(">I4s", padding, b"free") + bytes(padding - 8) if padding else b""
    return content[: old.start] + bytes(meta) + free + content[old.end :] + boxes[b"mdat"]


def difference(pixels: np.ndarray, image: Image.Image) -> float:
    return float(np.abs(pixels.astype(int) - np.asarray(image, dtype=int)).mean())


@pytest.mark.parametrize("brand", [b"avis", b"avif", b"mif1"])
def test_a_still_that_differs_from_the_track_is_looked_at_whatever_the_major_brand(brand: bytes) -> None:
    content = with_other_still(sequence(), encoded(noise(9), "AVIF", speed=10, quality=90))
    frames = decode(content[:8] + brand + content[12:], LIMITS).frames
    assert len(frames) == 3
    for frame, seed in zip(frames, (9, 1, 2), strict=True):
        assert difference(frame.pixels, noise(seed)) < 25
    assert [frame.index for frame in frames] == [0, 0, 1]


def test_a_still_that_is_the_first_frame_is_looked_at_once() -> None:
    picture = decode(sequence((1, 2, 3)), LIMITS)
    assert [(frame.index, frame.time_s) for frame in picture.frames] == [(0, 0.0), (1, 0.5), (2, 1.0)]
    assert picture.frames_complete


def test_a_still_that_is_broken_makes_the_file_broken() -> None:
    content = with_other_still(sequence(), encoded(noise(9), "AVIF", speed=10))
    assert reason_of(content[:-20]) is Reason.BROKEN_FILE
