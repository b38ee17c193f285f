"""How a picture is turned by its EXIF data, read as browsers read it.

Pillow also believes XMP, a PNG's text and values of any type. A picture that is turned for the models and
not for those who look at it is how to get past them.
"""

import struct

from PIL import Image

_PREFIX = b"Exif\0\0"
_BYTE_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
_ORIENTATION, _SHORT = 0x0112, 3

_TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SWAPS_SIDES = (5, 6, 7, 8)


def orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 (upright) where there is none, or where the library has obeyed it."""
    exif = image.info.get("exif")
    if not isinstance(exif, bytes):
        return 1
    try:
        return _orientation(exif.removeprefix(_PREFIX))
    except struct.error:
        # Broken metadata must not cost the picture.
        return 1


def upright(image: Image.Image, turn: int) -> Image.Image:
    """The picture with its EXIF orientation undone."""
    return image.transpose(_TRANSPOSITIONS[turn]) if turn in _TRANSPOSITIONS else image


def swaps_sides(turn: int) -> bool:
    """Whether this EXIF orientation makes width of height."""
    return turn in _SWAPS_SIDES


def _orientation(tiff: bytes) -> int:
    """The first entry of the first directory that is one SHORT (TIFF 6.0, 2; Exif 2.3, 4.6.4)."""
    order = _BYTE_ORDERS.get(tiff[:4])
    if order is None:
        return 1
    (at,) = struct.unpack_from(f"{order}I", tiff, 4)
    (entries,) = struct.unpack_from(f"{order}H", tiff, at)
    for place in range(at + 2, at + 2 + 12 * entries, 12):
        tag, kind, count, value = struct.unpack_from(f"{order}HHIH", tiff, place)
        if (tag, kind, count) == (_ORIENTATION, _SHORT, 1):
            return value if 1 <= value <= 8 else 1
    return 1
