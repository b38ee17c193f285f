"""A worker that stands still (SIGSTOP) until its group is empty, and goes on when others have been there."""

import asyncio
import os
import signal
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import CommitFailedError
from workers import WorkerProcess

from streamapp.group_offsets import committed_offsets
from streamapp.kafka import client_options
from streamapp.local.kafka.broker import KafkaBroker
from streamapp.local.outcomes import OutcomeReader
from streamapp.local.sending import send_values
from streamapp.settings import Settings, load_settings
from streamapp.topics import ensure_topics

TIMEOUT_S = 60
DONE = 10
# When others have done more.
COMMITTED_BY_OTHERS = 15


@pytest.fixture
def kafka_variables(kafka_variables: dict[str, str], kafka_broker: KafkaBroker) -> dict[str, str]:
    """A worker on Apache Kafka."""
    return kafka_variables | {
        "STREAMAPP_BROKERS": kafka_broker.bootstrap_servers,
        "STREAMAPP_TOPIC_PARTITIONS": "1",
        "PYTHONPATH": str(Path(__file__).parent),
    }


async def commit_as_another(settings: Settings, partition: TopicPartition, offset: int) -> None:
    """Commit without being a member, which the broker allows once the group is empty."""
    consumer = AIOKafkaConsumer(group_id=settings.group, enable_auto_commit=False, **client_options(settings))
    await consumer.start()
    try:
        consumer.assign([partition])
        async with asyncio.timeout(TIMEOUT_S):
            while True:
                try:
                    await consumer.commit({partition: offset})
                    return
                except CommitFailedError:
                    await asyncio.sleep(0.2)
    finally:
        await consumer.stop()


async def test_it_does_not_set_back_what_others_have_committed(
    kafka_variables: dict[str, str], tmp_path: Path
) -> None:
    settings = load_settings(kafka_variables)
    await ensure_topics(settings)
    partition = TopicPartition(settings.events_topic, 0)
    async with OutcomeReader(settings) as reader:
        with WorkerProcess(kafka_variables, tmp_path, app="rare_commits") as worker:
            sent = [source async for _, source in send_values(settings, [b"no event"] * DONE)]
            assert not await reader.collect(
                sent, timeout_s=TIMEOUT_S, on_outcome=lambda _: None, check=worker.check
            )
            os.kill(worker.process.pid, signal.SIGSTOP)
            await commit_as_another(settings, partition, COMMITTED_BY_OTHERS)
            assigned = worker.log.count("Assigned events")
            os.kill(worker.process.pid, signal.SIGCONT)
            async with asyncio.timeout(TIMEOUT_S):
                while worker.log.count("Assigned events") == assigned:
                    worker.check()
                    await asyncio.sleep(0.05)
            committed = await committed_offsets(settings, settings.group, [partition])

    assert committed[partition].offset == COMMITTED_BY_OTHERS
