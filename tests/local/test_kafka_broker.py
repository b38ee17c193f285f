"""Apache Kafka on loopback: what it keeps, how it ends, and its errors."""

import os
import signal
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import UnknownTopicOrPartitionError
from process_tree import descendants, still_running

from streamapp.errors import BrokerError
from streamapp.local.kafka.broker import KafkaBroker
from streamapp.settings import load_settings
from streamapp.topics import ensure_topics

OWNER = """
import sys
from pathlib import Path
from streamapp.local.kafka.broker import KafkaBroker
with KafkaBroker(Path(sys.argv[1])):
    print("ready", flush=True)
    sys.stdin.read()
"""


async def test_what_it_has_acknowledged_outlives_a_sigkill(kafka_broker: KafkaBroker) -> None:
    address = kafka_broker.bootstrap_servers
    topic = f"kept-{uuid.uuid4().hex[:8]}"
    await ensure_topics(load_settings({}, brokers=address, events_topic=topic))
    async with AIOKafkaProducer(bootstrap_servers=address, acks="all") as producer:
        sent = await producer.send_and_wait(topic, b"value", key=b"key")

    # Each call in a thread of its own, as from async code.
    for call in (kafka_broker.kill, kafka_broker.start):
        with ThreadPoolExecutor(1) as threads:
            threads.submit(call).result()

    assert kafka_broker.bootstrap_servers == address
    async with AIOKafkaConsumer(bootstrap_servers=address) as consumer:
        place = TopicPartition(topic, sent.partition)
        consumer.assign([place])
        consumer.seek(place, sent.offset)
        batches = await consumer.getmany(timeout_ms=10_000)
    assert [(record.key, record.value) for records in batches.values() for record in records] == [
        (b"key", b"value")
    ]


async def test_a_topic_does_not_appear_because_it_is_asked_for(kafka_broker: KafkaBroker) -> None:
    async with AIOKafkaProducer(
        bootstrap_servers=kafka_broker.bootstrap_servers, request_timeout_ms=1000
    ) as producer:
        with pytest.raises(UnknownTopicOrPartitionError):
            await producer.partitions_for("never-created")


def test_it_ends_orderly_when_its_owner_is_killed(kafka_program: None, tmp_path: Path) -> None:
    folder = tmp_path / "Käfka data"
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"ready\n"
        started = descendants(owner.pid)
        assert len(started) == 2  # the supervisor and the broker
        os.kill(owner.pid, signal.SIGKILL)
        assert still_running(started, timeout_s=30) == set()
    # Kafka's own note that nothing needs to be recovered.
    assert (folder / "data" / ".kafka_cleanshutdown").exists()


def test_a_folder_that_another_broker_uses_is_refused(kafka_broker: KafkaBroker) -> None:
    with pytest.raises(BrokerError, match="Another Kafka broker runs on the folder"):
        KafkaBroker(kafka_broker.folder).start()
    assert kafka_broker.is_running


def test_a_port_that_is_taken_is_refused_and_the_folder_let_go(
    kafka_broker: KafkaBroker, tmp_path: Path
) -> None:
    both = [KafkaBroker(tmp_path, kafka_broker.port) for _ in range(2)]
    for broker in both:
        with pytest.raises(BrokerError, match=rf"Port {kafka_broker.port} on 127.0.0.1 can't be had"):
            broker.start()


def test_a_broker_that_ends_at_its_start_is_told_with_its_last_words(
    kafka_program: None, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "meta.properties").write_text("version=1\nnode.id=2\ncluster.id=another\n")
    before = descendants(os.getpid())
    with pytest.raises(BrokerError, match=r"(?s)ended at its start:.*Stored node id 2"):
        KafkaBroker(tmp_path).start()
    assert descendants(os.getpid()) <= before


def test_a_broker_that_is_not_ready_in_time_is_ended(kafka_program: None, tmp_path: Path) -> None:
    before = descendants(os.getpid())
    with pytest.raises(BrokerError, match=r"did not answer on 127.0.0.1:\d+ within 0 s"):
        KafkaBroker(tmp_path, start_timeout_s=0).start()
    assert descendants(os.getpid()) <= before


def test_a_folder_that_can_not_be_written_is_told(kafka_program: None, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BrokerError, match="can't be used for Kafka"):
        KafkaBroker(tmp_path / "file").start()
