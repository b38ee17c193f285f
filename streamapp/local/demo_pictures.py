"""The demo's picture files: sample photos, and variants of them that Pillow makes when they are asked for."""

import io
from functools import cache
from importlib.resources import files

import av
import numpy as np
import pillow_heif
from PIL import Image, ImageEnhance, ImageOps

SAMPLES = ("astronaut", "camera", "chelsea", "rocket")
LARGE_SIZE_PX = (6000, 4000)
_EXIF_ORIENTATION = 0x0112


def sample_bytes(name: str) -> bytes:
    """A sample photo's file; author and licence are in ``samples/SOURCES.md``."""
    return files("streamapp.local").joinpath("samples", f"{name}.jpg").read_bytes()


@cache
def sample(name: str) -> Image.Image:
    """A sample photo, RGB."""
    with Image.open(io.BytesIO(sample_bytes(name))) as image:
        return image.convert("RGB")


def ordinary_jpeg(number: int) -> tuple[str, bytes, tuple[int, int]]:
    """A sample photo, changed a little for each number, so that no two files are the same.

    Returns:
        The sample's name, the file, and the picture's size in pixels.
    """
    name = SAMPLES[number % len(SAMPLES)]
    image = sample(name)
    if number // len(SAMPLES) % 2:
        image = ImageOps.mirror(image)
    image = ImageEnhance.Brightness(image).enhance(0.85 + 0.3 * (number * 7 % 20) / 20)
    return name, _encoded(image, "JPEG"), image.size


def alpha_png() -> bytes:
    """A cat that fades out towards the edge."""
    image = sample("chelsea").convert("RGBA")
    image.putalpha(ImageOps.invert(Image.radial_gradient("L").resize(image.size)))
    return _encoded(image, "PNG")


def rotated_jpeg() -> tuple[bytes, tuple[int, int]]:
    """A photo stored lying on its side, with EXIF orientation 6; and its size when upright."""
    upright = sample("rocket")
    exif = Image.Exif()
    exif[_EXIF_ORIENTATION] = 6
    return _encoded(upright.transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif), upright.size


def cmyk_jpeg() -> bytes:
    """A photo in the colours of a printing press."""
    return _encoded(sample("astronaut").convert("CMYK"), "JPEG")


def grey_jpeg() -> bytes:
    """A photo with one channel."""
    return _encoded(sample("camera").convert("L"), "JPEG")


def webp() -> bytes:
    """A lossy WebP."""
    return _encoded(sample("rocket"), "WEBP", quality=80)


def animated_gif() -> bytes:
    """Three seconds, three different pictures, two frames each, 320 by 240."""
    stills = [ImageOps.fit(sample(name), (320, 240)) for name in ("chelsea", "rocket", "astronaut")]
    frames = [frame for still in stills for frame in (still, ImageEnhance.Brightness(still).enhance(1.15))]
    out = io.BytesIO()
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:], duration=500, loop=0)
    return out.getvalue()


def mp4() -> bytes:
    """Two seconds, two different pictures, 320 by 240."""
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as video:
        stream = video.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for name in ("chelsea", "astronaut"):
            pixels = np.asarray(ImageOps.fit(sample(name), (320, 240)))
            still = av.VideoFrame.from_ndarray(pixels, "rgb24")
            for _ in range(5):
                video.mux(stream.encode(still))
        video.mux(stream.encode(None))
    return out.getvalue()


def heic() -> bytes:
    """A photo as an iPhone stores it."""
    out = io.BytesIO()
    pillow_heif.from_pillow(sample("astronaut")).save(out, quality=60)
    return out.getvalue()


def large_jpeg() -> bytes:
    """24 megapixels, as a phone's camera makes them."""
    return _encoded(sample("rocket").resize(LARGE_SIZE_PX, Image.Resampling.BILINEAR), "JPEG", quality=70)


def cup_png() -> tuple[bytes, tuple[int, int]]:
    """A small photo of a cup of coffee, lossless so that a model's score of it stays; and its size."""
    image = sample("coffee").resize((256, 170))
    return _encoded(image, "PNG"), image.size


def bomb_png() -> bytes:
    """A small file that would fill 300 MB of memory as RGB."""
    return _encoded(Image.new("1", (10_000, 10_000)), "PNG")


def _encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()
