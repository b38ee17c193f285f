"""How the file itself says that a track of a MP4 or MOV is turned.

libavcodec lets a message within the video overrule it (H.264's display orientation), of which browsers and
phones know nothing.
"""

import struct
from collections.abc import Iterable, Iterator, Mapping

from streamapp.media.boxes import Box, body_start, boxes_within, top_level_boxes

# a, b, c and d (ISO/IEC 14496-12, 8.3.2): a pixel at (x, y) goes to (a x + c y, b x + d y), in any unit.
Matrix = tuple[int, int, int, int]

_IDENTITY = (1, 0, 0, 1)
_MATRIX, _NUMBER = struct.Struct(">ii4xii"), struct.Struct(">I")

# By the version of the box, from its body on: the track's number, the track's matrix, the movie's matrix.
_TRACK_NUMBER = {0: 12, 1: 20}
_TRACK_MATRIX = {0: 40, 1: 52}
_MOVIE_MATRIX = {0: 36, 1: 48}


def display_matrix(content: bytes, track_number: int) -> Matrix | None:
    """The track's matrix, and then the movie's; None where the track is not found."""
    try:
        for movie in _of_kind(top_level_boxes(content), b"moov"):
            for header in _track_headers(content, movie):
                if _read(_NUMBER, content, header, _TRACK_NUMBER) == (track_number,):
                    a, b, c, d = _read(_MATRIX, content, header, _TRACK_MATRIX)
                    e, f, g, h = _movie_matrix(content, movie)
                    return a * e + b * g, a * f + b * h, c * e + d * g, c * f + d * h
    except struct.error:
        # Of a broken file, which libavformat may read all the same.
        return None
    return None


def _track_headers(content: bytes, movie: Box) -> Iterator[Box]:
    for track in _of_kind(boxes_within(content, movie), b"trak"):
        yield from _of_kind(boxes_within(content, track), b"tkhd")


def _movie_matrix(content: bytes, movie: Box) -> tuple[int, ...]:
    for header in _of_kind(boxes_within(content, movie), b"mvhd"):
        return _read(_MATRIX, content, header, _MOVIE_MATRIX)
    return _IDENTITY


def _of_kind(boxes: Iterable[Box], kind: bytes) -> Iterator[Box]:
    return (box for box in boxes if box.kind == kind)


def _read(layout: struct.Struct, content: bytes, box: Box, offsets: Mapping[int, int]) -> tuple[int, ...]:
    body = content[body_start(content, box) : box.end]
    # As in libavformat, all versions but 1 are read as 0.
    return layout.unpack_from(body, offsets[int(body[:1] == b"\1")])
