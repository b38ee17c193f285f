"""Builders of TIFFs, tag by tag."""

import struct


def of_tags(tags: dict[int, tuple[int, int, int]], data: bytes = b"", next_at: int = 0) -> bytes:
    """A little-endian TIFF of one directory: tag → (type, count, value or offset); data follow at 8."""
    at = 8 + len(data)
    entries = b"".join(struct.pack("<HHII", tag, *tags[tag]) for tag in sorted(tags))
    directory = struct.pack("<H", len(tags)) + entries + struct.pack("<I", next_at)
    return b"II*\0" + struct.pack("<I", at) + data + directory


def of_tiles(side: int, tile_side: int) -> bytes:
    """A gray TIFF of one tile that may be larger than the picture."""
    data = bytes(64)
    tags = {
        256: (4, 1, side),
        257: (4, 1, side),
        258: (3, 1, 8),
        259: (3, 1, 1),
        262: (3, 1, 1),
        277: (3, 1, 1),
        322: (4, 1, tile_side),
        323: (4, 1, tile_side),
        324: (4, 1, 8),
        325: (4, 1, len(data)),
    }
    return of_tags(tags, data)


def of_size(width: int, height: int, *, compression: int = 1, data: bytes = bytes(64), **more: int) -> bytes:
    """A gray TIFF of one strip that claims a size."""
    tags = {
        256: (4, 1, width),
        257: (4, 1, height),
        258: (3, 1, 8),
        259: (3, 1, compression),
        262: (3, 1, 1),
        273: (4, 1, 8),
        277: (3, 1, 1),
        278: (4, 1, height),
        279: (4, 1, len(data)),
    }
    return of_tags(tags, data)
