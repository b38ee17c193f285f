"""Key frames of videos, by PyAV, from memory alone.

What a player may show counts, not what the file asks of it: edit lists are ignored, because players obey
them differently; a file of two video tracks is refused, because players choose differently. A cover picture
is no video, nor is a track of thumbnails. A MP4 is turned by its own matrix alone.

A video that is transparent in places is refused: libavcodec's decoders leave the transparency of most out.

A frame that was damaged and is shown all the same, patched up, is looked at as it is shown.
"""

from functools import partial
from io import BytesIO
from typing import Any

import av
from av.container import InputContainer
from av.stream import Discard, Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from streamapp.errors import MediaError
from streamapp.media import Frame, KeyFrameSelection
from streamapp.media.boxes import missing_bytes
from streamapp.media.display_matrix import Matrix, display_matrix
from streamapp.media.key_frames import KeyFrames, Shown
from streamapp.media.limits import Limits
from streamapp.media.video_frames import VideoFrames, timed, too_many_pixels, transparent
from streamapp.media.video_rendering import Display, video_look
from streamapp.reasons import Reason

_EBML_TYPES = ("video/webm", "video/x-matroska")

# What phones, browsers and cameras write. The rest of libavcodec's decoders is attack surface.
_CODECS = ("h264", "hevc", "vp8", "vp9", "libdav1d", "mpeg4", "h263", "mjpeg", "prores")
_NO_VIDEO = Disposition.attached_pic | Disposition.timed_thumbnails


def read_video(content: bytes, media_type: str, limits: Limits) -> KeyFrameSelection:
    """Decode a video to its key frames; holds as many frames as `KeyFrames` does, however long it is.

    Raises:
        MediaError: broken_file, too_many_pixels, no_key_frame, polyglot or unknown_format.
        FFmpegError: the file is broken, in libav's words.
    """
    if missing := missing_bytes(content):
        raise MediaError(Reason.BROKEN_FILE, f"The video is cut: {missing} bytes are missing.")
    with _open(content, media_type, limits) as container:
        stream = _video_stream(container, limits)
        matrix = None if media_type in _EBML_TYPES else display_matrix(content, stream.id)
        return _select(container, stream, matrix, limits)


def _open(content: bytes, media_type: str, limits: Limits) -> InputContainer:
    """Open a file that can name others, and open none of those.

    A track of a MOV can have its frames in another file, or behind a URL. libavformat follows only if it is
    told to (`enable_drefs`), by an allowed protocol, through `io_open`: each of the three forbids it.
    """
    options = {
        "enable_drefs": "0",
        "protocol_whitelist": "none",
        "codec_whitelist": ",".join(_CODECS),
        "ignore_editlist": "1",
        # To find out what a file holds, libavformat decodes a few frames.
        "max_pixels": _decoder_max_pixels(limits),
    }
    demuxer = "matroska" if media_type in _EBML_TYPES else "mov"
    return av.open(BytesIO(content), "r", format=demuxer, options=options, io_open=_refuse_to_open)


def _refuse_to_open(url: str, *_: Any) -> None:
    raise PermissionError(f"The video refers to another file, {url!r}.")


def _decoder_max_pixels(limits: Limits) -> str:
    """A decoder's own bound. It counts whole blocks and margins, so that it must be wider than the limit."""
    return str(2 * limits.max_pixels + 2**20)


def _video_stream(container: InputContainer, limits: Limits) -> VideoStream:
    """The one stream to look at, ready to be decoded; the others are not even read.

    Raises:
        MediaError: there is none, there are several, or it is too large or by a codec that is not read.
    """
    streams = [stream for stream in container.streams.video if not stream.disposition & _NO_VIDEO]
    if not streams:
        raise MediaError(Reason.NO_KEY_FRAME, "The file has no video stream.")
    if len(streams) > 1:
        raise MediaError(Reason.POLYGLOT, f"The file has {len(streams)} videos; players choose differently.")
    (stream,) = streams
    decoder = stream.codec_context
    if decoder is None or decoder.name not in _CODECS:
        codec = decoder.name if decoder else "unknown"
        raise MediaError(Reason.UNKNOWN_FORMAT, f"Videos of the codec {codec} are not read here.")
    if decoder.width * decoder.height > limits.max_pixels:
        raise too_many_pixels(decoder.width, decoder.height, limits.max_pixels)
    if stream.metadata.get("alpha_mode", "0") != "0":
        raise transparent()
    for other in container.streams:
        if other is not stream:
            other.discard = Discard.all
    decoder.options = {"max_pixels": _decoder_max_pixels(limits)}
    # Each thread holds frames of its own.
    decoder.thread_count = 1
    return stream


def _select(
    container: InputContainer, stream: VideoStream, matrix: Matrix | None, limits: Limits
) -> KeyFrameSelection:
    key_frames = KeyFrames(limits.max_key_frames, limits.max_media_seconds)
    found = VideoFrames(container, stream, limits)
    display: Display | None = None
    size_px = (0, 0)
    for shown, frame in timed(found, stream.time_base):
        if display is None:
            display = Display.of(frame, matrix, stream.sample_aspect_ratio)
            size_px = display.size_px(frame)
        key_frames.offer(shown, video_look(frame), partial(_frame, frame, display, limits, shown))
        if key_frames.is_past_its_time:
            found.is_cut = True
            break
    if display is None:
        raise MediaError(Reason.NO_KEY_FRAME, "No frame of the video can be decoded.")
    frames, is_complete = key_frames.selected()
    return KeyFrameSelection(*size_px, frames, is_complete and not found.is_cut)


def _frame(frame: VideoFrame, display: Display, limits: Limits, shown: Shown) -> Frame:
    return Frame(display.render(frame, limits.frame_side_px), shown.index, shown.start_ms / 1000)
