"""How many frames a file has, told from its structure before a pixel is decoded.

Asked beforehand because to Pillow a GIF that was cut, or an animated PNG that says less than it holds,
looks as if it ended there. What is counted here must all be found there: where the two disagree, some
viewer shows what was not looked at.
"""

import struct

from PIL import Image

from streamapp.errors import MediaError
from streamapp.reasons import Reason

_GIF_TRAILER, _GIF_EXTENSION, _GIF_IMAGE = 0x3B, 0x21, 0x2C
# With sub-blocks, of which pixels of 20 MB are 80,000. Both this and Pillow walk through them in Python.
_GIF_BLOCKS = 1_000_000


def frame_count(content: bytes, media_type: str, image: Image.Image) -> int:
    """The number of frames of an opened file of a format that may have several; at least 1.

    Raises:
        MediaError: broken_file, where the file is cut or contradicts itself.
    """
    if media_type == "image/gif":
        return gif_frame_count(content)
    # Known from the header; only Pillow's GIF reader would walk the whole file for it.
    claimed = int(getattr(image, "n_frames", 1))
    if media_type == "image/png":
        found = _png_frame_count(content)
        if found != claimed:
            raise MediaError(Reason.BROKEN_FILE, f"The PNG claims {claimed} frames and has {found}.")
    return claimed


def gif_frame_count(content: bytes) -> int:
    """The number of images before the trailer (GIF89a, 17 to 27); 0 is possible.

    Raises:
        MediaError: broken_file, where there is no trailer or there are too many blocks.
    """
    try:
        return _count_gif_images(content)
    except IndexError as exc:
        raise MediaError(Reason.BROKEN_FILE, "The GIF is cut: it has no trailer.") from exc


def _count_gif_images(content: bytes) -> int:
    count, left, at = 0, _GIF_BLOCKS, 13 + _gif_table_bytes(content[10])
    while (block := content[at]) != _GIF_TRAILER:
        if block == _GIF_EXTENSION:
            at, left = _after_sub_blocks(content, at + 2, left)
        elif block == _GIF_IMAGE:
            count += 1
            # 10 bytes of descriptor, the table, 1 byte of code size.
            at, left = _after_sub_blocks(content, at + 11 + _gif_table_bytes(content[at + 9]), left)
        else:
            # Stray bytes between blocks are common, and skipped by viewers.
            at += 1
        left -= 1
        if left < 0:
            raise MediaError(Reason.BROKEN_FILE, f"The GIF has more than {_GIF_BLOCKS} blocks.")
    return count


def _gif_table_bytes(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _after_sub_blocks(content: bytes, at: int, left: int) -> tuple[int, int]:
    """The offset behind the sub-blocks, and how many of those left remain; below 0 they were not walked."""
    while (length := content[at]) and left >= 0:
        at += 1 + length
        left -= 1
    return at + 1, left


def _png_frame_count(content: bytes) -> int:
    """Frame controls of an animated PNG, and its default picture where that is no frame; else 1.

    Raises:
        MediaError: broken_file, where an animated PNG has no end.
    """
    is_animated = has_pixels = False
    count, at = 0, 8
    while at + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        if kind == b"acTL" and not has_pixels:
            is_animated = True
        elif kind == b"IDAT" and not has_pixels:
            has_pixels = True
            # Pixels without a frame control are the picture for viewers that know no animation.
            count = max(count, 1)
        elif kind == b"fcTL":
            count += 1
        elif kind == b"IEND":
            return count if is_animated else 1
        at += 12 + length
    if is_animated:
        raise MediaError(Reason.BROKEN_FILE, "The animated PNG is cut: it has no end.")
    return 1
