"""`streamapp worker`: Faust's worker in the same process, so that signals and exit codes are its own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from streamapp.local.broker import free_port

TIMEOUT_S = 40


@contextmanager
def worker(
    folder: Path, variables: dict[str, str], *arguments: str
) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """The command, with what it writes; killed at the end if it still runs."""
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith("STREAMAPP_")}
    log_file = folder / "worker.log"
    with log_file.open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "streamapp", "worker", *arguments],
            cwd=folder,
            env=kept | {"STREAMAPP_MODELS": "nudenet"} | variables,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process, log_file
    finally:
        process.kill()
        process.wait(TIMEOUT_S)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_worker_that_still_waits_for_its_broker(tmp_path: Path, number: int) -> None:
    variables = {"STREAMAPP_BROKERS": f"127.0.0.1:{free_port()}"}
    with worker(tmp_path, variables, "--without-web") as (process, log_file):
        deadline = time.monotonic() + TIMEOUT_S
        while "does not answer" not in log_file.read_text():
            assert process.poll() is None and time.monotonic() < deadline, log_file.read_text()
            time.sleep(0.05)
        process.send_signal(number)
        assert process.wait(TIMEOUT_S) == 0, log_file.read_text()
        assert "Traceback" not in log_file.read_text()


def test_a_bad_setting_is_the_exit_code_and_the_only_line(tmp_path: Path) -> None:
    with worker(tmp_path, {"STREAMAPP_EVENTS_IN_FLIGHT": "none"}) as (process, log_file):
        assert process.wait(TIMEOUT_S) == 1
        assert "STREAMAPP_EVENTS_IN_FLIGHT" in log_file.read_text()
        assert "Traceback" not in log_file.read_text()


def test_options_go_on_to_faust(tmp_path: Path) -> None:
    with worker(tmp_path, {}, "--web-port", "no number") as (process, log_file):
        assert process.wait(TIMEOUT_S) == 2
        assert "--web-port" in log_file.read_text()
