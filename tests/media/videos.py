"""Real videos for the tests: encoded by PyAV from pictures that are known."""

from collections.abc import Sequence
from fractions import Fraction
from io import BytesIO
from typing import Any

import av
import numpy as np
from av.stream import Disposition
from PIL import Image

# The demuxer's format → a codec that the wheel can encode it with.
CODECS = {"mp4": "libx264", "mov": "mpeg4", "webm": "libvpx-vp9", "matroska": "libx264"}


def video(
    images: Sequence[Image.Image],
    container: str = "mp4",
    *,
    codec: str | None = None,
    rate: int = 10,
    rotation: float | None = None,
    mirrored: bool = False,
    times_ms: Sequence[int] | None = None,
    key_every: int = 12,
    pixel_format: str = "yuv420p",
    pixel_aspect: Fraction | None = None,
    muxer_options: dict[str, str] | None = None,
    **options: str,
) -> bytes:
    """A video of the images, ``rate`` of them a second, or each at its time in ms."""
    buffer = BytesIO()
    with av.open(buffer, "w", format=container, options=muxer_options) as output:
        name = codec or CODECS[container]
        if name == "libx264":
            options = {"preset": "ultrafast", "crf": "10", **options}
        stream: Any = output.add_stream(name, rate=rate, options=options)
        stream.width, stream.height = images[0].size
        stream.pix_fmt = pixel_format
        stream.bit_rate = 2_000_000
        stream.codec_context.gop_size = key_every
        stream.codec_context.thread_count = 1
        if times_ms is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        if pixel_aspect is not None:
            stream.codec_context.sample_aspect_ratio = pixel_aspect
        if rotation is not None:
            stream.set_display_rotation(rotation, hflip=mirrored)
        for number, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(np.asarray(image.convert("RGB")), "rgb24")
            if times_ms is not None:
                frame.pts, frame.time_base = times_ms[number], Fraction(1, 1000)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return buffer.getvalue()


def audio(
    container: str,
    *,
    images: Sequence[Image.Image] = (),
    videos: int = 1,
    cover: Image.Image | None = None,
) -> bytes:
    """A second of silence; with so many video streams of the images, or with a cover picture."""
    buffer = BytesIO()
    with av.open(buffer, "w", format=container) as output:
        sound = output.add_stream("aac", rate=8000)
        streams: list[Any] = [output.add_stream("mpeg4", rate=10) for _ in range(videos if images else 0)]
        for stream in streams:
            stream.width, stream.height = images[0].size
            stream.pix_fmt = "yuv420p"
        if cover is not None:
            art: Any = output.add_stream("mjpeg", rate=1)
            art.width, art.height = cover.size
            art.pix_fmt = "yuvj420p"
            art.disposition = Disposition.attached_pic
            output.mux(art.encode(av.VideoFrame.from_image(cover)))
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), "fltp", "mono")
        silence.sample_rate = 8000
        output.mux(sound.encode(silence))
        output.mux(sound.encode(None))
        for stream in streams:
            for image in images:
                output.mux(stream.encode(av.VideoFrame.from_image(image)))
            output.mux(stream.encode(None))
    return buffer.getvalue()
