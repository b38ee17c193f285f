"""Runs one program that must not outlive whoever started it.

A script of its own, started by `ChildProcess` as ``python supervisor.py GRACE_S PROGRAM ARG…``. Its
standard input is a pipe that only the parent holds open: the pipe's end means that the parent is gone,
however it went, SIGKILL included. (Linux could do it with PR_SET_PDEATHSIG, but that fires when the
*thread* that started the child ends, and other systems have none.)
"""

import os
import select
import signal
import subprocess
import sys
import time


def supervise(command: list[str], grace_s: float) -> int:
    """Run `command` until it ends, the parent goes away, or SIGTERM comes.

    In the last two cases the program gets SIGTERM, and SIGKILL if it still runs `grace_s` later.

    Returns:
        The program's exit code; 128 + n where signal n ended it.
    """
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, _only_wake_up)
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    stop_by: float | None = None
    while child.poll() is None:
        left_s = None if stop_by is None else stop_by - time.monotonic()
        if left_s is not None and left_s <= 0:
            child.kill()
            child.wait()
            break
        watched = [wake_read] if stop_by is not None else [wake_read, sys.stdin.fileno()]
        ready, _, _ = select.select(watched, [], [], left_s)
        if stop_by is None and _is_stop_wanted(ready, wake_read):
            child.terminate()
            stop_by = time.monotonic() + grace_s
    code = child.returncode
    return code if code >= 0 else 128 - code


def _is_stop_wanted(ready: list[int], wake_read: int) -> bool:
    """Whether one of the ready descriptors says so: the parent's pipe, or a signal other than SIGCHLD."""
    if sys.stdin.fileno() in ready:
        return True
    return wake_read in ready and any(number != signal.SIGCHLD for number in os.read(wake_read, 64))


def _only_wake_up(number: int, frame: object) -> None:
    """A handler must exist for `set_wakeup_fd` to tell of the signal."""


if __name__ == "__main__":
    sys.exit(supervise(sys.argv[2:], float(sys.argv[1])))
