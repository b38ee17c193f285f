"""What the worker and a decoder process say to each other, over one stream socket.

A request is the file's length and the file. An answer is its own length, the answer as JSON, and the
pixels of its frames, one after the other. Lengths are 8 bytes, big-endian.
"""

import re
import socket
import struct
import time
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta

from streamapp.media import Frame, Picture, Pixels
from streamapp.media.limits import Limits
from streamapp.reasons import Reason, Status

MAX_MESSAGE_CHARS = 1000

_LENGTH = struct.Struct(">Q")
# A thousand frames are a tenth of it.
_MAX_ANSWER_BYTES = 2**20
# Less than the grace of the alarm in `child.py`, so that the deadline is what a late one ends by.
_ANSWER_TIMEOUT_S = 0.5


# Of pixels of a side, of frames and of seconds; far beyond what a file has.
_LARGEST = 2**53

_MEDIA_TYPE = re.compile("(image|video)/[a-z0-9.+-]{1,40}")


class Order(msgspec.Struct, frozen=True):
    """What a decoder process is told when it starts.

    Attributes:
        loader: ``package.module:name`` of the function that returns the one that decodes.
        timeout_s: for one file.
        memory_mb: the process's address space.
    """

    loader: str
    limits: Limits
    timeout_s: float
    memory_mb: int


class Ready(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """The process takes files from now on."""


class Decoded(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """The file is a picture; the pixels of its frames follow.

    Attributes:
        picture: with all pixels where it is sent; where it is received, with arrays of the same shapes that
            hold nothing and take no memory.
    """

    picture: Picture

    def check(self, limits: Limits) -> None:
        """Refuse a picture that the limits don't allow, before memory is taken for its frames.

        Raises:
            ValueError: it is no picture or video, or has no frame, too many, or one of no allowed size; or
                a number is none that a file can have.
        """
        if not _MEDIA_TYPE.fullmatch(self.picture.media_type):
            raise ValueError("its media type is none")
        if not (1 <= self.picture.width_px <= _LARGEST and 1 <= self.picture.height_px <= _LARGEST):
            raise ValueError("its size is none")
        if not 1 <= len(self.picture.frames) <= limits.max_key_frames:
            raise ValueError(f"it has {len(self.picture.frames)} frames")
        for frame in self.picture.frames:
            height_px, width_px, channels = frame.pixels.shape
            if not (min(height_px, width_px) >= 1 and max(height_px, width_px) <= limits.frame_side_px):
                raise ValueError(f"it has a frame of {width_px} x {height_px} pixels")
            if channels != 3:
                raise ValueError(f"it has a frame of {channels} channels")
            _check_numbers(frame)


class Refused(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """The file gives no picture."""

    reason: Reason
    message: Annotated[str, Meta(max_length=MAX_MESSAGE_CHARS)]

    def check(self) -> None:
        """Refuse a reason that is not a decoder's to give.

        Raises:
            ValueError: it is of fetching or of a model.
        """
        if self.reason.status not in (Status.NOT_MEDIA, Status.NO_KEY_FRAME):
            raise ValueError(f"its reason is {self.reason}")


Answer = Ready | Decoded | Refused


def _check_numbers(frame: Frame) -> None:
    numbers = (frame.index, frame.time_s, frame.scale, *frame.origin_px)
    if not all(0 <= number <= _LARGEST for number in numbers) or not frame.scale:
        raise ValueError("a frame's numbers are none")


def send_file(connection: socket.socket, content: bytes, deadline_s: float) -> None:
    """Send a request.

    Raises:
        TimeoutError: the other side did not take it by the deadline, on `time.monotonic`.
        OSError: the other side is gone.
    """
    for part in (_LENGTH.pack(len(content)), content):
        connection.settimeout(_time_left_s(deadline_s))
        # The timeout is for the whole of it, however many pieces it goes in.
        connection.sendall(part)


def receive_file(connection: socket.socket) -> bytearray:
    """Wait for the next request.

    Raises:
        EOFError: there will be none.
    """
    content = bytearray(_receive_length(connection, None))
    receive_into(connection, memoryview(content), None)
    return content


def send_answer(connection: socket.socket, answer: Answer) -> None:
    """Send an answer, with its pixels if it has any.

    Raises:
        OSError: the other side is gone.
    """
    encoded = msgspec.json.encode(answer, enc_hook=_shape)
    connection.sendall(_LENGTH.pack(len(encoded)) + encoded)
    if isinstance(answer, Decoded):
        for frame in answer.picture.frames:
            connection.sendall(frame.pixels.data.cast("B"))


def receive_answer(connection: socket.socket, deadline_s: float) -> Answer:
    """Read an answer up to the pixels.

    Raises:
        TimeoutError: it did not begin by the deadline, on `time.monotonic`, or did not go on.
        ValueError: it is none.
        EOFError, OSError: the other side is gone.
    """
    length = _receive_length(connection, deadline_s)
    deadline_s = answer_deadline_s(deadline_s)
    if length > _MAX_ANSWER_BYTES:
        raise ValueError(f"{length} bytes")
    encoded = bytearray(length)
    receive_into(connection, memoryview(encoded), deadline_s)
    try:
        answer: Answer = msgspec.json.decode(encoded, type=Answer, dec_hook=_empty)
    except (msgspec.MsgspecError, RecursionError) as exc:
        raise ValueError(str(exc)) from exc
    return answer


def answer_deadline_s(deadline_s: float) -> float:
    """When an answer that has begun must be whole: the file's work is done by then.

    Later than the file's own deadline where a worker that was stopped meanwhile finds the answer waiting.
    """
    return max(deadline_s, time.monotonic() + _ANSWER_TIMEOUT_S)


def receive_into(connection: socket.socket, view: memoryview, deadline_s: float | None) -> None:
    """Fill the bytes of `view`, by the deadline if there is one.

    Raises:
        TimeoutError: the deadline, on `time.monotonic`, has passed.
        EOFError, OSError: the other side is gone.
    """
    while view:
        connection.settimeout(None if deadline_s is None else _time_left_s(deadline_s))
        count = connection.recv_into(view)
        if not count:
            raise EOFError("The connection ended.")
        view = view[count:]


def _shape(pixels: Pixels) -> tuple[int, ...]:
    """Pixels in JSON are their shape, ``[H, W, 3]``."""
    return pixels.shape


def _empty(_: type, shape: list[int]) -> Pixels:
    """An array of that shape, all of whose elements are the same byte in memory."""
    height_px, width_px, channels = shape
    return np.broadcast_to(np.uint8(0), (height_px, width_px, channels))


def _receive_length(connection: socket.socket, deadline_s: float | None) -> int:
    encoded = bytearray(_LENGTH.size)
    receive_into(connection, memoryview(encoded), deadline_s)
    (length,) = _LENGTH.unpack(encoded)
    return int(length)


def _time_left_s(deadline_s: float) -> float:
    left_s = deadline_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError("The deadline has passed.")
    return left_s
