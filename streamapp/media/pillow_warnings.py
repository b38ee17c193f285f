"""Keeps Pillow's warnings about strangers' files from the log, from several threads at once."""

import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

_lock = threading.Lock()
_stack = ExitStack()
_users = 0


@contextmanager
def silenced() -> Iterator[None]:
    """Ignore what modules of Pillow warn of, for the length of the block; other modules still warn.

    `warnings.catch_warnings` swaps a global list, so that two threads which overlap would restore it
    in the wrong order. Only the first to come and the last to go touch it here.
    """
    global _users
    with _lock:
        if not _users:
            _stack.enter_context(warnings.catch_warnings())
            warnings.filterwarnings("ignore", module=r"PIL\.")
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if not _users:
                _stack.close()
