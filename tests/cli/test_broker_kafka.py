"""`streamapp broker --kafka` as a process of its own."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from streamapp.local.broker import check_port_is_free, free_port
from streamapp.local.kafka.jars import kafka_version
from streamapp.settings import load_settings
from streamapp.topics import ensure_topics

TIMEOUT_S = 60


@contextmanager
def broker_command(folder: Path, *arguments: str, **changes: str) -> Iterator[subprocess.Popen[str]]:
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith("STREAMAPP_")}
    command = [sys.executable, "-m", "streamapp", "broker", *arguments]
    with subprocess.Popen(
        command, cwd=folder, env=kept | changes, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


async def test_it_runs_with_its_topics_until_a_signal_and_keeps_its_data(
    kafka_program: None, tmp_path: Path
) -> None:
    port = free_port()
    arguments = ["--kafka", "--port", str(port), "--data", "data", "--topics"]
    with broker_command(tmp_path, *arguments) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(4)]
        assert lines[0] == "Topic modify_user (events): 8 partitions.\n"
        assert lines[3] == (
            f"Apache Kafka {kafka_version()} is ready on 127.0.0.1:{port}; data and kafka.log are in data. "
            "Ctrl-C ends it.\n"
        )
        topics = await ensure_topics(load_settings({}, brokers=f"127.0.0.1:{port}"), create=False)
        assert [topic.partitions for topic in topics] == [8, 8, 8]
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT_S) == 0
    check_port_is_free(port)
    assert (tmp_path / "data" / "data" / ".kafka_cleanshutdown").exists()
    assert "shut down completely" in (tmp_path / "data" / "kafka.log").read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_the_start_leaves_nothing_behind(
    kafka_program: None, tmp_path: Path, number: int
) -> None:
    port = free_port()
    with broker_command(tmp_path, "--kafka", "--port", str(port), TMPDIR=str(tmp_path)) as process:
        while not list(tmp_path.glob("streamapp-kafka-*/server.properties")):
            assert process.poll() is None
        process.send_signal(number)
        assert process.wait(TIMEOUT_S) in (128 + signal.SIGINT, 128 + signal.SIGTERM)
    assert not list(tmp_path.glob("streamapp-kafka-*"))
    check_port_is_free(port)


def test_a_missing_java_is_one_line_on_stderr(tmp_path: Path) -> None:
    with broker_command(tmp_path, "--kafka", PATH="", JAVA_HOME="") as process:
        _, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 1
    assert errors.startswith(
        "streamapp: Apache Kafka needs Java 17 or later, and there is no java on the PATH."
    )
    assert errors.count("\n") == 1


def test_a_data_folder_without_kafka_is_refused(tmp_path: Path) -> None:
    with broker_command(tmp_path, "--data", "data") as process:
        _, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 2
    assert "--data needs --kafka" in errors
