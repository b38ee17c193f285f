"""Builders of videos: ordinary ones in every container, and parts by which they are made hostile."""

import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cache
from io import BytesIO

import av
import numpy as np
from adversarial.crafted_pictures import blocks, box, patched

# Container → the codec to put into it.
CODECS = {"mp4": "libx264", "mov": "mjpeg", "webm": "libvpx", "matroska": "mpeg4"}

_RATE = 10


@cache
def clip(container: str = "mp4", times: Sequence[int] = tuple(range(12)), *, is_live: bool = False) -> bytes:
    """A video of 96 x 64 pixels, each frame another picture.

    Args:
        container: a key of `CODECS`.
        times: when the frames are shown, in tenths of a second.
        is_live: written as a stream, whose length is not known.
    """
    codec = CODECS[container]
    buffer = BytesIO()
    options = {"live": "1"} if is_live else {}
    with av.open(buffer, "w", format=container, options=options) as output:
        stream = output.add_stream(codec, rate=_RATE)
        stream.width, stream.height = 96, 64
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.thread_count = 1
        stream.codec_context.time_base = Fraction(1, _RATE)
        stream.codec_context.max_b_frames = 0
        for seed, time in enumerate(times):
            frame = av.VideoFrame.from_image(blocks(seed))
            frame.pts = time
            frame.time_base = Fraction(1, _RATE)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return buffer.getvalue()


CLIPS: dict[str, Callable[[], bytes]] = {
    "MP4": lambda: clip("mp4"),
    "MOV": lambda: clip("mov"),
    "WebM": lambda: clip("webm"),
    "MKV": lambda: clip("matroska"),
}


@cache
def sound(container: str = "mp4") -> bytes:
    """A second of silence without a picture."""
    codec = "aac" if container == "mp4" else "libopus"
    buffer = BytesIO()
    with av.open(buffer, "w", format=container) as output:
        stream = output.add_stream(codec, rate=48000)
        stream.codec_context.thread_count = 1
        layout = (
            {"format": "fltp", "layout": "mono"} if codec == "aac" else {"format": "s16", "layout": "mono"}
        )
        kind = np.float32 if codec == "aac" else np.int16
        for start in range(0, 48000, 960):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 960), kind), **layout)
            frame.sample_rate, frame.pts = 48000, start
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return buffer.getvalue()


@cache
def transparent() -> bytes:
    """A WebM with an alpha channel, which alone makes its picture."""
    shape = np.zeros((64, 96, 4), np.uint8)
    shape[..., 3] = np.asarray(blocks(mode="L"))
    buffer = BytesIO()
    with av.open(buffer, "w", format="webm") as output:
        stream = output.add_stream("libvpx-vp9", rate=_RATE, options={"auto-alt-ref": "0"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuva420p"
        stream.codec_context.thread_count = 1
        output.mux(stream.encode(av.VideoFrame.from_ndarray(shape, "rgba")))
        output.mux(stream.encode(None))
    return buffer.getvalue()


def only(content: bytes, kind: bytes) -> bytes:
    """The file's outermost boxes of this kind."""
    return b"".join(box(name, data) for name, data in boxes(content) if name == kind)


def boxes(content: bytes) -> list[tuple[bytes, bytes]]:
    """The boxes of one level, as kinds and contents."""
    found, at = [], 0
    while at + 8 <= len(content):
        size, kind = struct.unpack_from(">I4s", content, at)
        found.append((kind, content[at + 8 : at + size]))
        at += size
    return found


def without(content: bytes, kind: bytes) -> bytes:
    """The file without its outermost boxes of this kind."""
    return b"".join(box(name, data) for name, data in boxes(content) if name != kind)


def changed(content: bytes, path: str, change: Callable[[bytes], bytes]) -> bytes:
    """The file with the content of one box changed, and the lengths of those around it."""
    first, _, rest = path.partition("/")
    parts = []
    for kind, data in boxes(content):
        if kind.decode("latin-1") == first:
            data = changed(data, rest, change) if rest else change(data)
        parts.append(box(kind, data))
    return b"".join(parts)


SAMPLES = "moov/trak/mdia/minf/stbl"


def with_offsets(offset: int) -> bytes:
    """An MP4 whose index says that all its frames are at one offset."""

    def change(data: bytes) -> bytes:
        count = struct.unpack_from(">I", data, 4)[0]
        return data[:8] + struct.pack(">I", offset) * count

    return changed(clip(), f"{SAMPLES}/stco", change)


def with_claimed_entries(table: str, count: int, at: int = 4) -> bytes:
    """An MP4 one of whose sample tables claims to have so many entries."""
    return changed(clip(), f"{SAMPLES}/{table}", lambda data: patched(data, (at, struct.pack(">I", count))))


def of_jpegs(*frames: bytes) -> bytes:
    """A MOV of these pictures, a second each, whose track says 96 x 64 pixels."""
    buffer = BytesIO()
    with av.open(buffer, "w", format="mov") as output:
        stream = output.add_stream("mjpeg", rate=1)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuvj420p"
        for time, frame in enumerate(frames):
            packet = av.Packet(frame)
            packet.stream, packet.time_base = stream, Fraction(1)
            packet.pts = packet.dts = time
            packet.is_keyframe = True
            output.mux(packet)
    return buffer.getvalue()


def with_track_size(width: int, height: int) -> bytes:
    """A MOV whose track claims a size; its frames have another."""
    return changed(
        clip("mov"),
        f"{SAMPLES}/stsd",
        lambda data: patched(data, (8 + 8 + 24, struct.pack(">HH", width, height))),
    )


def with_frames_elsewhere(path: str) -> bytes:
    """A MOV whose frames are in another file, as a Macintosh alias names it."""
    name = path.replace("/", ":").encode()
    name += b"\0" * (len(name) % 2)
    alias = bytes(10) + bytes(28) + bytes(12) + bytes(64) + bytes(16)
    alias += struct.pack(">HH", 0xFFFF, 0xFFFF) + bytes(16)
    alias += struct.pack(">HH", 2, len(name)) + name + struct.pack(">HH", 0xFFFF, 0) + bytes(64)
    entry = box(b"alis", bytes(4), alias)
    return changed(
        clip("mov"), "moov/trak/mdia/minf/dinf/dref", lambda _: bytes(4) + struct.pack(">I", 1) + entry
    )


def nested(kind: bytes, depth: int) -> bytes:
    """Boxes within boxes."""
    size = 8 * depth
    return b"".join(struct.pack(">I4s", size - 8 * level, kind) for level in range(depth))
