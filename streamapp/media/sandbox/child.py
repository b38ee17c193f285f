"""The decoder process: takes one file after the other from its stdin, a socket, and answers each.

Run by `process.DecoderProcess`; it ends when the socket does.
"""

import contextlib
import errno
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from importlib import import_module

import msgspec

from streamapp.errors import MediaError
from streamapp.media import Picture
from streamapp.media.limits import Limits
from streamapp.media.sandbox.wire import (
    MAX_MESSAGE_CHARS,
    Answer,
    Decoded,
    Order,
    Ready,
    Refused,
    receive_file,
    send_answer,
)
from streamapp.reasons import Reason

Decode = Callable[[bytes, Limits], Picture]

# The worker kills sooner; this is for a process whose worker is gone.
_ALARM_GRACE_S = 1.0
_HEADROOM_BYTES = 128 * 2**20


def main() -> None:
    """Serve until the socket ends.

    1. Leave the signals that end a worker to the worker: it still wants answers while it drains.
    2. Import all that decoding needs, for nothing can be opened afterwards.
    3. Give up what decoding does not need.
    4. Say so, and decode file after file.
    """
    # 1. The signals.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    # 2. The decoder.
    order = msgspec.json.decode(sys.argv[1], type=Order)
    decode = _load(order.loader)
    connection = socket.socket(fileno=sys.stdin.fileno())
    # 3. What is given up.
    _limit_memory(order.memory_mb)
    _silence()
    _close_doors()
    # 4. The files.
    with contextlib.suppress(EOFError, ConnectionError):
        send_answer(connection, Ready())
        _serve(connection, decode, order)


def _serve(connection: socket.socket, decode: Decode, order: Order) -> None:
    while True:
        content = bytes(receive_file(connection))
        # Its default action ends the process, whatever C code holds the interpreter meanwhile.
        signal.setitimer(signal.ITIMER_REAL, order.timeout_s + _ALARM_GRACE_S)
        answer = _answer(decode, content, order)
        # A worker that is stopped takes the answer when it goes on; one that is gone ends the connection.
        signal.setitimer(signal.ITIMER_REAL, 0)
        send_answer(connection, answer)
        # An idle process keeps no one's picture.
        del content, answer


def _answer(decode: Decode, content: bytes, order: Order) -> Answer:
    try:
        return Decoded(decode(content, order.limits))
    except MediaError as exc:
        if _wanted_to_open(exc):
            return _refused(Reason.DECODER_CRASHED, f"The decoder wanted to open something: {exc}")
        return _refused(exc.reason, str(exc))
    except MemoryError:
        return _refused(Reason.DECODE_MEMORY, f"{order.memory_mb} MB are not enough.")
    except Exception as exc:
        return _refused(Reason.DECODER_CRASHED, f"The decoder raised {type(exc).__name__}: {exc}")


def _refused(reason: Reason, message: str) -> Refused:
    return Refused(reason, message[:MAX_MESSAGE_CHARS])


def _wanted_to_open(exc: BaseException | None) -> bool:
    """Whether an error comes of the closed doors: of a file's trick, or of what should have been loaded."""
    while exc is not None and not (isinstance(exc, OSError) and exc.errno == errno.EMFILE):
        exc = exc.__cause__
    return exc is not None


def _load(loader: str) -> Decode:
    module, _, function = loader.partition(":")
    decode: Decode = getattr(import_module(module), function)()
    return decode


def _limit_memory(memory_mb: int) -> None:
    """Bound the address space; only Linux enforces such a bound."""
    if sys.platform != "linux":
        return
    _limit(resource.RLIMIT_AS, memory_mb * 2**20)
    try:
        bytearray(_HEADROOM_BYTES)
    except MemoryError:
        raise SystemExit(f"DECODE_MEMORY_MB is {memory_mb}: too little for the decoder itself.") from None


def _silence() -> None:
    """From here on a library's output goes nowhere: it may be the file's own words, without end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stderr.fileno())
    os.close(nowhere)


def _close_doors() -> None:
    """No core dump, no byte written to a file, no descriptor to open anything with."""
    free = os.dup(sys.stdin.fileno())
    os.close(free)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_NOFILE, free)


def _limit(kind: int, value: int) -> None:
    """Set a limit for good, or leave it where the system has a lower one."""
    _, highest = resource.getrlimit(kind)
    if highest != resource.RLIM_INFINITY:
        value = min(value, highest)
    resource.setrlimit(kind, (value, value))


if __name__ == "__main__":
    main()
