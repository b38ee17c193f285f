"""`streamapp demo` as a process of its own, from the start to the last process gone."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest
from process_tree import descendants, eventually, still_running

TIMEOUT_S = 80
DEMO = [sys.executable, "-m", "streamapp", "demo", "--timeout", "60"]


@contextmanager
def demo(folder: Path) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    """The running demo and its output. A cluster's settings lie about; they must not reach it."""
    (folder / ".env").write_text(
        "STREAMAPP_BROKERS=kafka.example.com:9092\nSTREAMAPP_SECURITY_PROTOCOL=SSL\n"
    )
    environment = {**os.environ, "STREAMAPP_EVENTS_TOPIC": "production", "STREAMAPP_MODELS": "clip"}
    pipe = subprocess.PIPE
    with subprocess.Popen(DEMO, cwd=folder, env=environment, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout
        finally:
            process.kill()


def all_started(process: subprocess.Popen[str]) -> set[int]:
    """Broker and worker, each with its supervisor."""
    assert eventually(lambda: len(descendants(process.pid)) == 4)
    return descendants(process.pid)


def command_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


def read_until(output: IO[str], text: str) -> None:
    for line in output:
        if text in line:
            return
    pytest.fail(f"The demo did not say {text!r}.")


def test_the_demo_has_every_outcome_as_expected_and_leaves_a_report(tmp_path: Path) -> None:
    with demo(tmp_path) as (process, output):
        read_until(output, "send 40 events")
        started = all_started(process)
        rest, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, rest + errors
    assert still_running(started, timeout_s=0) == set()
    assert "All as expected." in rest
    lines = (tmp_path / "build/demo/rows.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    assert len(rows) == 37  # 40 events, 2 of them dead letters, and one that removes a picture
    assert len({json.dumps(row["MODEL_ATTRIBUTES"]["PROVENANCE"]["source"]) for row in rows}) == 37
    report = (tmp_path / "build/demo/report.html").read_text(encoding="utf-8")
    assert report.count("<article") == 40
    assert not re.findall(r'src="(?!data:)|href=', report)
    assert (tmp_path / "build/demo/worker.log").stat().st_size > 0


@pytest.mark.parametrize("moment", ["send 40 events", "moderates: 7 of 39"])
def test_ctrl_c_leaves_no_process_and_no_stale_report_behind(tmp_path: Path, moment: str) -> None:
    stale = tmp_path / "build/demo/report.html"
    stale.parent.mkdir(parents=True)
    stale.touch()
    with demo(tmp_path) as (process, output):
        read_until(output, moment)
        started = all_started(process)
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 130, rest + errors
    assert "Traceback" not in errors
    assert still_running(started, timeout_s=0) == set()
    assert not stale.exists()


def test_a_killed_demo_leaves_no_process_behind(tmp_path: Path) -> None:
    with demo(tmp_path) as (process, output):
        read_until(output, "send 40 events")
        started = all_started(process)
        process.kill()
        assert still_running(started, timeout_s=30) == set()


def test_a_worker_that_ends_is_told_and_ends_the_demo(tmp_path: Path) -> None:
    with demo(tmp_path) as (process, output):
        read_until(output, "send 40 events")
        started = all_started(process)
        (worker,) = [pid for pid in started if "faust" in command_of(pid) and not descendants(pid)]
        os.kill(worker, signal.SIGKILL)
        _, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 1
    assert errors.startswith("streamapp: The worker ended (exit code 137)")
    assert still_running(started, timeout_s=0) == set()


def test_a_folder_that_cannot_be_written_is_one_line_on_stderr(tmp_path: Path) -> None:
    (tmp_path / "build").touch()
    with demo(tmp_path) as (process, _):
        _, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 1
    assert errors.startswith("streamapp: The folder build/demo can't be written")
    assert errors.count("\n") == 1
