"""A decoder process decodes every format as this process would, and needs nothing that it can't open."""

import re
from collections.abc import Callable, Iterator
from dataclasses import fields
from io import BytesIO
from typing import Any

import av
import numpy as np
import pillow_heif
import pytest
from pictures import animation, encoded, noise
from PIL import Image, ImageCms

from streamapp.errors import MediaError
from streamapp.media import Frame, Picture
from streamapp.media.decode import decode
from streamapp.media.limits import Limits
from streamapp.media.sandbox.pool import DecoderPool

LIMITS = Limits(frame_side_px=50, trim_letterbox=True)
WIDTH_PX, HEIGHT_PX = 64, 48


@pytest.fixture(scope="module")
def pool() -> Iterator[DecoderPool]:
    with DecoderPool(LIMITS, decoders=1, timeout_s=60, memory_mb=1024) as opened:
        yield opened


def still(pillow_format: str) -> bytes:
    options: dict[str, Any] = {}
    if pillow_format not in ("GIF", "BMP"):
        options["icc_profile"] = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = 6  # turned by a quarter
    return encoded(noise(1, WIDTH_PX, HEIGHT_PX), pillow_format, **options)


def letterboxed() -> bytes:
    image = Image.new("RGB", (WIDTH_PX, WIDTH_PX))
    image.paste(noise(2, WIDTH_PX, HEIGHT_PX), (0, 8))
    return encoded(image, "PNG")


def moving(pillow_format: str) -> bytes:
    return animation([noise(seed, WIDTH_PX, HEIGHT_PX) for seed in range(3)], pillow_format, 1000)


def heic() -> bytes:
    file = BytesIO()
    pillow_heif.from_pillow(noise(3, WIDTH_PX, HEIGHT_PX)).save(file)
    return file.getvalue()


def video(container_format: str, codec: str) -> bytes:
    """Three seconds, each another picture."""
    file = BytesIO()
    with av.open(file, "w", format=container_format) as container:
        stream: Any = container.add_stream(codec, rate=2)
        stream.width, stream.height, stream.pix_fmt = WIDTH_PX, HEIGHT_PX, "yuv420p"
        for seed in (0, 0, 1, 1, 2, 2):
            frame = av.VideoFrame.from_ndarray(np.asarray(noise(seed, WIDTH_PX, HEIGHT_PX)))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file.getvalue()


FILES: dict[str, Callable[[], bytes]] = {
    "jpeg": lambda: still("JPEG"),
    "cmyk": lambda: encoded(noise(1).convert("CMYK"), "JPEG"),
    "png": lambda: still("PNG"),
    "palette": lambda: encoded(noise(1).convert("P"), "PNG"),
    "letterboxed": letterboxed,
    "gif": lambda: still("GIF"),
    "webp": lambda: still("WEBP"),
    "bmp": lambda: still("BMP"),
    "avif": lambda: still("AVIF"),
    "tiff": lambda: still("TIFF"),
    "heic": heic,
    "moving png": lambda: moving("PNG"),
    "moving gif": lambda: moving("GIF"),
    "moving webp": lambda: moving("WEBP"),
    "moving avif": lambda: moving("AVIF"),
    "mp4": lambda: video("mp4", "libx264"),
    "mov": lambda: video("mov", "mpeg4"),
    "webm": lambda: video("webm", "libvpx-vp9"),
    "mkv": lambda: video("matroska", "libx264"),
}


def facts(value: Picture | Frame) -> dict[str, object]:
    return {field.name: getattr(value, field.name) for field in fields(value)}


def outcome(decoder: Callable[[bytes], Picture], content: bytes) -> object:
    """All that is known of the file, in a form that can be compared."""
    try:
        picture = decoder(content)
    except MediaError as exc:
        return exc.reason, re.sub("0x[0-9a-f]+", "0x", str(exc))
    frames = [
        facts(frame) | {"pixels": (frame.pixels.shape, frame.pixels.tobytes())} for frame in picture.frames
    ]
    return facts(picture) | {"frames": frames}


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_any_format_whole_or_broken_ends_as_it_would_in_this_process(
    pool: DecoderPool, name: str
) -> None:
    content = FILES[name]()
    middle = len(content) // 2
    broken = [content[:middle], content[:-1], content[:middle] + bytes(8) + content[middle + 8 :]]

    def here(file: bytes) -> Picture:
        return decode(file, LIMITS)

    assert isinstance(outcome(pool.decode, content), dict)
    for file in (content, *broken):
        assert outcome(pool.decode, file) == outcome(here, file)


def test_a_file_of_no_bytes_or_no_format_is_refused_in_the_same_words(pool: DecoderPool) -> None:
    for content in (b"", b"no picture", bytes(10**6)):
        assert outcome(pool.decode, content) == outcome(lambda file: decode(file, LIMITS), content)
