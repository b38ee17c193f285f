"""Child processes: their logs, and that nothing of them stays."""

import os
import signal
import sys
from pathlib import Path

import pytest
from process_tree import descendants, eventually, still_running

from streamapp.errors import StreamappError
from streamapp.local.processes import ChildProcess

WAITS_FOR_EVER = "import signal; print('ready', flush=True); signal.pause()"
IGNORES_SIGTERM = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + WAITS_FOR_EVER


def child(tmp_path: Path, code: str, **options: float) -> ChildProcess:
    return ChildProcess(
        "child", [sys.executable, "-c", code], log_file=tmp_path / "logs" / "child.log", **options
    )


def wait_for_log(process: ChildProcess, text: str) -> None:
    assert eventually(lambda: text in process.log_tail()), process.log_tail()


def test_a_child_writes_its_log_and_is_gone_after_its_block(tmp_path: Path) -> None:
    before = descendants(os.getpid())
    with child(tmp_path, WAITS_FOR_EVER) as process:
        wait_for_log(process, "ready")
        assert process.is_running
        started = descendants(os.getpid()) - before
    assert not process.is_running
    assert still_running(started, timeout_s=0) == set()


def test_a_child_that_ignores_sigterm_is_killed_after_the_grace(tmp_path: Path) -> None:
    before = descendants(os.getpid())
    process = child(tmp_path, IGNORES_SIGTERM, stop_grace_s=0.2)
    with process:
        wait_for_log(process, "ready")
        started = descendants(os.getpid()) - before
        assert len(started) == 2
    assert still_running(started, timeout_s=0) == set()


def test_a_child_whose_supervisor_was_killed_does_not_stay(tmp_path: Path) -> None:
    before = descendants(os.getpid())
    with child(tmp_path, WAITS_FOR_EVER) as process:
        wait_for_log(process, "ready")
        started = descendants(os.getpid()) - before
        supervisor = next(pid for pid in started if descendants(pid))
        os.kill(supervisor, signal.SIGKILL)
    assert still_running(started, timeout_s=5) == set()


def test_the_exit_code_is_the_programs_own(tmp_path: Path) -> None:
    with child(tmp_path, "import sys; print('last words'); sys.exit(75)") as process:
        assert eventually(lambda: not process.is_running)
        assert process.exit_code == 75
        assert process.log_tail() == "last words"


def test_a_program_ended_by_a_signal_shows_it_in_its_exit_code(tmp_path: Path) -> None:
    with child(tmp_path, "import os, signal; os.kill(os.getpid(), signal.SIGKILL)") as process:
        assert eventually(lambda: not process.is_running)
        assert process.exit_code == 128 + signal.SIGKILL


def test_a_log_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "logs").touch()
    with pytest.raises(StreamappError, match=r"child's log .* can't be written"):
        child(tmp_path, "pass").start()
