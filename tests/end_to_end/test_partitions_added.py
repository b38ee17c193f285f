"""The events topic gets more partitions while a worker runs: it reads the new ones, from the first event."""

import asyncio
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions
from workers import WorkerProcess

from streamapp.kafka import client_options
from streamapp.local.kafka.broker import KafkaBroker
from streamapp.local.outcomes import Outcome, OutcomeReader
from streamapp.local.sending import send_values
from streamapp.records import SourcePosition
from streamapp.settings import Settings, load_settings
from streamapp.topics import ensure_topics

TIMEOUT_S = 60
EVENTS = 40
PARTITIONS = 2
MORE_PARTITIONS = 4


@pytest.fixture
def kafka_variables(kafka_variables: dict[str, str], kafka_broker: KafkaBroker) -> dict[str, str]:
    """A worker on Apache Kafka."""
    return kafka_variables | {
        "STREAMAPP_BROKERS": kafka_broker.bootstrap_servers,
        "STREAMAPP_TOPIC_PARTITIONS": str(PARTITIONS),
        "PYTHONPATH": str(Path(__file__).parent),
    }


async def send(settings: Settings) -> list[SourcePosition]:
    """Events that need no picture: their outcome is a dead letter."""
    return [source async for _, source in send_values(settings, [b"no event"] * EVENTS)]


async def add_partitions(settings: Settings) -> None:
    admin = AIOKafkaAdminClient(**client_options(settings))
    await admin.start()
    try:
        await admin.create_partitions({settings.events_topic: NewPartitions(MORE_PARTITIONS)})
        async with asyncio.timeout(TIMEOUT_S):
            while True:
                (topic,) = await admin.describe_topics([settings.events_topic])
                if len(topic["partitions"]) == MORE_PARTITIONS:
                    return
                await asyncio.sleep(0.05)
    finally:
        await admin.close()


async def test_events_on_the_new_partitions_are_read_from_the_first_one_on(
    kafka_variables: dict[str, str], tmp_path: Path
) -> None:
    settings = load_settings(kafka_variables)
    await ensure_topics(settings)
    seen: list[Outcome] = []
    async with OutcomeReader(settings) as reader:
        with WorkerProcess(kafka_variables, tmp_path, app="quick_metadata") as worker:
            before = await send(settings)
            assert not await reader.collect(
                before, timeout_s=TIMEOUT_S, on_outcome=seen.append, check=worker.check
            )
            await add_partitions(settings)
            after = await send(settings)
            assert {source.partition for source in after} == set(range(MORE_PARTITIONS))
            overdue = await reader.collect(
                after, timeout_s=TIMEOUT_S, on_outcome=seen.append, check=worker.check
            )

    assert not overdue, worker.log
