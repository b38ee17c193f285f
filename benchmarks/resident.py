"""Resident memory of processes, from /proc (Linux)."""

import os
from pathlib import Path


def own_and_descendants(pid: int) -> tuple[int, int]:
    """Bytes of a process, and of those that it has started; what they share counts in each.

    Raises:
        OSError: one of them has just ended.
    """
    return _resident(pid), sum(sum(own_and_descendants(child)) for child in children(pid))


def children(pid: int) -> list[int]:
    """The processes that any thread of a process has started."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
