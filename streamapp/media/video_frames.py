"""A video's frames one by one, within budgets, and when each of them is shown."""

from collections.abc import Iterable, Iterator
from fractions import Fraction

from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from streamapp.errors import MediaError
from streamapp.media.key_frames import Shown
from streamapp.media.limits import Limits
from streamapp.reasons import Reason

# Budgets of pixels, as multiples of the largest still: for all frames, then for key frames. At the default
# limit 1 and 0.5 billion, which are about 2 s of one core (H.264 at 1080p: 400 frames a second).
_ALL_FRAMES_FACTOR = 16
_KEY_FRAMES_FACTOR = 8
_ALL_FRAMES = 3000
_KEY_FRAME_EVERY_S = 1
# Most of an hour. A table of a few bytes can claim millions of frames.
_PACKETS = 200_000

_DEFAULT_FRAME_MS = 40


class VideoFrames:
    """The frames of a stream in the order of time: all at first, then one key frame a second.

    A key frame needs no other frame to be decoded, so that those between need not even be read.

    Attributes:
        is_cut: whether frames were left out, so far.
    """

    def __init__(self, container: InputContainer, stream: VideoStream, limits: Limits) -> None:
        self.is_cut = False
        self._container = container
        self._stream = stream
        self._max_pixels = limits.max_pixels
        self._decoder = stream.codec_context
        self._packets_read = 0
        self._last_key_s: Fraction | None = None

    def __iter__(self) -> Iterator[tuple[int, VideoFrame]]:
        """Each frame with its number in the file.

        Raises:
            MediaError: broken_file or too_many_pixels.
            FFmpegError: the decoder's own.
        """
        packets = self._packets()
        yield from self._all_frames(packets)
        yield from self._key_frames(packets)

    def _all_frames(self, packets: "Iterator[Packet[VideoStream]]") -> Iterator[tuple[int, VideoFrame]]:
        """Every frame, until the budget is spent."""
        index = 0
        budget_px = self._max_pixels * _ALL_FRAMES_FACTOR
        for packet in packets:
            for frame in self._decoder.decode(packet):
                budget_px -= self._checked_px(frame)
                yield index, frame
                index += 1
            if budget_px <= 0 or index >= _ALL_FRAMES:
                break
        else:
            return
        # Those that wait for their turn to be shown.
        for frame in self._decoder.decode(None):
            yield index, frame
            index += 1

    def _key_frames(self, packets: "Iterator[Packet[VideoStream]]") -> Iterator[tuple[int, VideoFrame]]:
        """One key frame a second, each decoded by itself, until the budget is spent.

        All frames before a key frame are shown before it: its number is that of its packet.
        """
        budget_px = self._max_pixels * _KEY_FRAMES_FACTOR
        for packet in packets:
            self.is_cut = self.is_cut or packet.size > 0
            if not self._is_due(packet):
                continue
            self._decoder.flush_buffers()
            for frame in (*self._decoder.decode(packet), *self._decoder.decode(None)):
                budget_px -= self._checked_px(frame)
                yield self._packets_read - 1, frame
            if budget_px <= 0:
                return

    def _packets(self) -> "Iterator[Packet[VideoStream]]":
        """What the file holds of the stream, with a last packet of no bytes."""
        for packet in self._container.demux(self._stream):
            if packet.is_corrupt:
                raise MediaError(Reason.BROKEN_FILE, f"The video is cut in frame {self._packets_read}.")
            self._packets_read += packet.size > 0
            if self._packets_read > _PACKETS:
                self.is_cut = True
                return
            yield packet
        # Of a MOV the index is read first; what lies behind the file's end is no error to libavformat.
        if self._packets_read < self._stream.frames:
            raise MediaError(
                Reason.BROKEN_FILE,
                f"The video's index names {self._stream.frames} frames; {self._packets_read} are there.",
            )

    def _is_due(self, packet: "Packet[VideoStream]") -> bool:
        if not packet.is_keyframe or not packet.size:
            return False
        if packet.pts is None or packet.time_base is None:
            return True
        now_s = packet.pts * packet.time_base
        if self._last_key_s is not None and abs(now_s - self._last_key_s) < _KEY_FRAME_EVERY_S:
            return False
        self._last_key_s = now_s
        return True

    def _checked_px(self, frame: VideoFrame) -> int:
        """Its pixels; a later frame can be larger than the first."""
        if any(component.is_alpha for component in frame.format.components):
            raise transparent()
        size_px = frame.width * frame.height
        if size_px > self._max_pixels:
            raise too_many_pixels(frame.width, frame.height, self._max_pixels)
        return size_px


def timed(
    frames: Iterable[tuple[int, VideoFrame]], time_base: Fraction | None
) -> Iterator[tuple[Shown, VideoFrame]]:
    """When each frame is shown, counted from the first one; holds one frame.

    A frame without a time, or with one that lies before its predecessor's, follows that one at once: time
    only goes forward, by 1 ms at least. A frame is shown until the next one comes.

    Args:
        frames: with their numbers.
        time_base: of the stream; frames that come out of a decoder late have none of their own.
    """
    waiting: tuple[int, int, VideoFrame] | None = None
    first_ms: int | None = None
    for index, frame in frames:
        at_ms = _milliseconds(frame.pts, time_base)
        if first_ms is None:
            first_ms = at_ms
        if waiting is None:
            waiting = (index, 0, frame)
            continue
        last_index, last_start_ms, last = waiting
        if at_ms is None or first_ms is None:
            start_ms = last_start_ms + _DEFAULT_FRAME_MS
        else:
            start_ms = max(at_ms - first_ms, last_start_ms + 1)
        yield Shown(last_index, last_start_ms, start_ms - last_start_ms), last
        waiting = (index, start_ms, frame)
    if waiting is not None:
        index, start_ms, frame = waiting
        yield (
            Shown(index, start_ms, _milliseconds(frame.duration, time_base) or _DEFAULT_FRAME_MS),
            frame,
        )


def too_many_pixels(width_px: int, height_px: int, max_pixels: int) -> MediaError:
    """The refusal of a video of this size."""
    return MediaError(
        Reason.TOO_MANY_PIXELS, f"The video has {width_px} x {height_px} pixels; {max_pixels} are allowed."
    )


def transparent() -> MediaError:
    """The refusal of a video with an alpha channel."""
    return MediaError(Reason.UNKNOWN_FORMAT, "Videos that are transparent in places are not read here.")


def _milliseconds(ticks: int | None, time_base: Fraction | None) -> int | None:
    return None if ticks is None or time_base is None else round(ticks * time_base * 1000)
