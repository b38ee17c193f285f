"""Which processes a test's process has started, and whether they are gone."""

import time
from collections.abc import Callable
from pathlib import Path


def descendants(pid: int) -> set[int]:
    """The children of a process, their children, and so on."""
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            # As in `state_of`; the parent follows the state.
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z":
            parents[int(status.parent.name)] = int(fields[1])
    found: set[int] = set()
    while more := {child for child, parent in parents.items() if parent in found | {pid}} - found:
        found |= more
    return found


def state_of(pid: int) -> str:
    """The letter of proc(5): ``S`` waits, ``Z`` is a zombie; ``Z`` also where nothing is left."""
    try:
        # The name, in parentheses, may hold anything; the state follows it.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def is_gone(pid: int) -> bool:
    """Whether a process has ended; a zombie has."""
    return state_of(pid) == "Z"


def still_running(pids: set[int], timeout_s: float = 20.0) -> set[int]:
    """Those of the processes that have not ended when the time is up."""
    eventually(lambda: all(is_gone(pid) for pid in pids), timeout_s)
    return {pid for pid in pids if not is_gone(pid)}


def eventually(condition: Callable[[], bool], timeout_s: float = 20.0) -> bool:
    """Ask until the condition holds; False when the time is up."""
    give_up_at = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() >= give_up_at:
            return False
        time.sleep(0.01)
    return True
