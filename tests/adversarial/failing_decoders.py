"""Decoders with a bug that a file sets off; they stand in for one that is not known yet."""

import ctypes
import os
import signal
from collections.abc import Callable

from streamapp.media import Picture
from streamapp.media.limits import Limits

Decode = Callable[[bytes, Limits], Picture]


def segfaulting() -> Decode:
    """Reads where nothing is."""
    return lambda content, limits: ctypes.string_at(0)  # type: ignore[return-value]


def aborting() -> Decode:
    """Ends as a C library does that finds its own state broken."""
    return lambda content, limits: os.abort()


def killed() -> Decode:
    """Ends as the kernel ends a process when the machine has no memory left."""
    return lambda content, limits: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[return-value]


def raising() -> Decode:
    """Raises what a decoder never should."""
    return lambda content, limits: [][0]
