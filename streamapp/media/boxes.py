"""The outermost structure of ISO base media files (MP4, MOV, HEIF, AVIF) and of EBML files (WebM, MKV)."""

from collections.abc import Iterator
from dataclasses import dataclass

from streamapp.errors import MediaError
from streamapp.reasons import Reason

_EBML_DOCTYPE = 0x4282
_EBML_SEGMENT = b"\x18\x53\x80\x67"

# A fragment for each frame of two minutes.
_MOST_BOXES = 10_000

# Real `ftyp` boxes and EBML headers are far shorter.
_HEADER_BYTES = 256


@dataclass(frozen=True, slots=True)
class Box:
    """One box of an ISO base media file (ISO/IEC 14496-12, 4.2), by its offsets in the file."""

    kind: bytes
    start: int
    end: int


def top_level_boxes(content: bytes) -> Iterator[Box]:
    """The boxes of the file's first level; what has no box's form ends them.

    Raises:
        MediaError: broken_file, where there are too many.
    """
    return _boxes(content, 0, len(content))


def boxes_within(content: bytes, outer: Box) -> Iterator[Box]:
    """The boxes that a box is made of."""
    return _boxes(content, body_start(content, outer), min(outer.end, len(content)))


def body_start(content: bytes, box: Box) -> int:
    """Where what the box holds begins."""
    return box.start + (16 if content.startswith(b"\0\0\0\1", box.start) else 8)


def _boxes(content: bytes, at: int, end: int) -> Iterator[Box]:
    count = 0
    while at + 8 <= end:
        count += 1
        if count > _MOST_BOXES:
            raise MediaError(Reason.BROKEN_FILE, f"The file has more than {_MOST_BOXES} boxes on one level.")
        size, kind = int.from_bytes(content[at : at + 4], "big"), content[at + 4 : at + 8]
        if size == 1:
            size = int.from_bytes(content[at + 8 : at + 16], "big")
        elif size == 0:
            size = end - at
        if size < 8 or not kind.isascii():
            return
        yield Box(kind, at, at + size)
        at += size


def brands(content: bytes) -> tuple[bytes, ...]:
    """The major brand and then the compatible ones of a leading `ftyp` box; none where there is none."""
    if content[4:8] != b"ftyp":
        return ()
    box = content[8 : min(int.from_bytes(content[:4], "big"), _HEADER_BYTES)]
    return (box[:4], *(box[at : at + 4] for at in range(8, len(box) - 3, 4)))


def ebml_doctype(content: bytes) -> bytes:
    """The DocType of a leading EBML header (RFC 8794, 11.2), `webm`; empty where there is none."""
    length, at = _vint(content, 4)
    end = min(at + (length or 0), _HEADER_BYTES, len(content))
    while at + 2 < end:
        # The header's elements have identifiers of two bytes.
        identifier = int.from_bytes(content[at : at + 2], "big")
        length, at = _vint(content, at + 2)
        if length is None:
            return b""
        if identifier == _EBML_DOCTYPE:
            return bytes(content[at : min(at + length, end)]).rstrip(b"\0")
        at += length
    return b""


def missing_bytes(content: bytes) -> int:
    """How many bytes the file's own lengths promise beyond its end; 0 for a file that is whole."""
    if content[4:8] == b"ftyp" or not content.startswith(b"\x1aE\xdf\xa3"):
        # Only the last one can reach beyond the end; stray bytes behind the last are no `mdat`.
        needed = (b"moov", b"mdat", b"moof")
        ends = (box.end for box in top_level_boxes(content) if box.kind in needed)
        return max(max(ends, default=0) - len(content), 0)
    length, at = _vint(content, 4)
    at += length or 0
    if content[at : at + 4] != _EBML_SEGMENT:
        return 0
    # None: a live recording, whose length was never filled in.
    length, at = _vint(content, at + 4)
    return max(at + (length or 0) - len(content), 0)


def _vint(content: bytes, at: int) -> tuple[int | None, int]:
    """An EBML length and the offset behind it; None for "not known" and for what is no length."""
    first = content[at] if at < len(content) else 0
    width = 9 - first.bit_length()
    if width > 8:
        return None, at + 1
    value = int.from_bytes(content[at : at + width], "big") & ((1 << 7 * width) - 1)
    return (None if value == (1 << 7 * width) - 1 else value), at + width
