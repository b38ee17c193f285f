"""`streamapp broker` as a process of its own."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from streamapp.local.broker import EmbeddedBroker, free_port
from streamapp.settings import load_settings
from streamapp.topics import ensure_topics

TIMEOUT_S = 30


@contextmanager
def broker_command(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith("STREAMAPP_")}
    command = [sys.executable, "-m", "streamapp", "broker", *arguments]
    with subprocess.Popen(
        command, cwd=folder, env=kept, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_it_runs_with_its_topics_until_a_signal_ends_it(tmp_path: Path, number: int) -> None:
    port = free_port()
    with broker_command(tmp_path, "--port", str(port), "--topics") as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(4)]
        assert lines[0] == "Topic modify_user (events): 8 partitions.\n"
        assert f"A broker listens on 127.0.0.1:{port}" in lines[3]
        topics = await ensure_topics(load_settings({}, brokers=f"127.0.0.1:{port}"), create=False)
        assert [topic.partitions for topic in topics] == [8, 8, 8]
        process.send_signal(number)
        assert process.wait(TIMEOUT_S) == 0
    # The port is free again, so the broker is gone.
    with EmbeddedBroker(port):
        pass


def test_a_port_that_is_taken_is_one_line_on_stderr(tmp_path: Path) -> None:
    with EmbeddedBroker() as other, broker_command(tmp_path, "--port", str(other.port)) as process:
        _, errors = process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == 1
        assert errors.startswith(f"streamapp: Port {other.port} on 127.0.0.1 can't be had")
        assert errors.count("\n") == 1
