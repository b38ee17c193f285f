"""HEIC and HEIF pictures, by pillow-heif, as Pillow images."""

from io import BytesIO

import pillow_heif
from PIL import Image
from pillow_heif.as_plugin import HeifImageFile


def open_heif(content: bytes) -> Image.Image:
    """Open the primary picture of a HEIF file; nothing is decoded yet.

    The opener is not registered with Pillow: this is the only place where such a file may be opened.
    Upright once it is loaded: libheif obeys the file's own rotation and mirroring (`irot`, `imir`), of
    which the EXIF orientation is a copy that must not be obeyed once more (ISO/IEC 23000-22, 7.3.7).

    Raises:
        SyntaxError: the file is broken.
    """
    # Options of the library, not of a file. Previews and maps of depth are nothing to look at.
    pillow_heif.options.DECODE_THREADS = 1
    pillow_heif.options.THUMBNAILS = False
    pillow_heif.options.DEPTH_IMAGES = False
    pillow_heif.options.AUX_IMAGES = False
    image: Image.Image = HeifImageFile(BytesIO(content))  # type: ignore[no-untyped-call]  # has no types
    for name in ("exif", "xmp"):
        image.info.pop(name, None)
    return image
