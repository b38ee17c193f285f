"""What runs in a decoder process in place of the decoder: the file says what it does to its process."""

import ctypes
import errno
import json
import os
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import replace

import msgspec
import numpy as np

from streamapp.errors import MediaError
from streamapp.media import Frame, Picture
from streamapp.media.limits import Limits
from streamapp.reasons import Reason

# Loaded here, for nothing can be opened later; its calls hold the interpreter, as a stuck C library does.
_C = ctypes.PyDLL(None)

_STDIN = 0


def load() -> Callable[[bytes, Limits], Picture]:
    return obey


def obey(content: bytes, limits: Limits) -> Picture:
    """Do what the file says: ``grey 90`` is a picture of that grey, all else is no good."""
    command, _, argument = content.decode().partition(" ")
    return _COMMANDS[command](argument)


def grey(level: str, side_px: int = 4, channels: int = 3, frames: int = 1) -> Picture:
    pixels = np.full((side_px, side_px, channels), int(level), np.uint8)
    return Picture("", "image/png", 0, side_px, side_px, (Frame(pixels),) * frames)


def _fail(exc: Exception) -> Picture:
    raise exc


def _answer_in(message: object) -> Picture:
    raise MediaError(Reason.BROKEN_FILE, json.dumps(message))


def _loop() -> Picture:
    while True:
        pass


def _fill_memory() -> Picture:
    kept = []
    while True:
        kept.append(np.ones(2**18))


def _say(text: bytes) -> Picture:
    """Write to the worker past the protocol, then wait to be killed."""
    os.write(_STDIN, text)
    return _loop()


def _drip() -> Picture:
    """An answer that never ends: always a byte more before a timeout for one read would have passed."""
    os.write(_STDIN, (1000).to_bytes(8, "big"))
    while True:
        os.write(_STDIN, b" ")
        time.sleep(0.05)


def _hang_up() -> Picture:
    os.close(_STDIN)
    return _loop()


def _claim(claims: str) -> Picture:
    """A picture, or its frame, with other numbers than it has."""
    picture = grey("1")
    for name, _, value in (claim.partition("=") for claim in claims.split()):
        number = json.loads(value)
        if hasattr(picture, name):
            picture = replace(picture, **{name: number})
        else:
            picture = replace(picture, frames=(replace(picture.frames[0], **{name: number}),))
    return picture


def _late(seconds: str, side_px: str) -> Picture:
    time.sleep(float(seconds))
    return grey("5", side_px=int(side_px))


def _half_an_answer() -> Picture:
    picture = msgspec.json.encode(grey("0"), enc_hook=lambda pixels: pixels.shape).decode()
    encoded = f'{{"type":"Decoded","picture":{picture}}}'.encode()
    os.write(_STDIN, len(encoded).to_bytes(8, "big") + encoded + bytes(7))
    os._exit(0)


def _chatter() -> Picture:
    print("a library's own words", flush=True)
    os.write(2, b"and more of them")
    return grey("7")


def _errors_of_opening() -> list[str]:
    attempts: list[Callable[[], object]] = [
        lambda: os.open("/etc/passwd", os.O_RDONLY),
        lambda: os.open("/dev/null", os.O_WRONLY),
        socket.socket,
        os.pipe,
    ]
    errors = []
    for attempt in attempts:
        try:
            attempt()
        except OSError as exc:
            errors.append(errno.errorcode[exc.errno or 0])
    return errors


def _open_and_call_it_broken() -> Picture:
    try:
        os.open("/etc/passwd", os.O_RDONLY)
    except OSError as exc:
        raise MediaError(Reason.BROKEN_FILE, "The file is broken.") from exc
    return grey("0")


_COMMANDS: dict[str, Callable[[str], Picture]] = {
    "grey": grey,
    "segfault": lambda _: ctypes.string_at(0) and grey("0"),
    "signal": lambda name: os.kill(os.getpid(), signal.Signals[name]) or grey("0"),  # type: ignore[func-returns-value]
    "exit": lambda code: os._exit(int(code)),
    "loop": lambda _: _loop(),
    "stuck": lambda _: _C.sleep(1000) and grey("0"),
    "allocate": lambda size: bytes(bytearray(int(size))) and grey("0"),
    "fill-memory": lambda _: _fill_memory(),
    "raise": lambda message: _fail(TypeError(message)),
    "refuse": lambda message: _fail(MediaError(Reason.NO_KEY_FRAME, message)),
    "say": lambda text: _say(bytes.fromhex(text)),
    "drip": lambda _: _drip(),
    "hang-up": lambda _: _hang_up(),
    "half-an-answer": lambda _: _half_an_answer(),
    "many-frames": lambda count: grey("1", frames=int(count)),
    "large-frame": lambda side_px: grey("1", side_px=int(side_px)),
    "channels": lambda count: grey("1", channels=int(count)),
    "media-type": lambda name: replace(grey("1"), media_type=name),
    "claim": _claim,
    "late": lambda argument: _late(*argument.split()),
    "reason": lambda name: _fail(MediaError(Reason(name), "")),
    "chatter": lambda _: _chatter(),
    "open-tacitly": lambda _: _open_and_call_it_broken(),
    "open": lambda _: _answer_in(_errors_of_opening()),
    # Values are cut, because an answer is no longer than a message may be.
    "environment": lambda _: _answer_in({name: value[:20] for name, value in os.environ.items()}),
    "pid": lambda _: _answer_in(os.getpid()),
}
