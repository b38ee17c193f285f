"""Offsets that are no events, as a producer's transactions leave them in a partition, on real Kafka."""

import asyncio
from pathlib import Path

from aiokafka import AIOKafkaProducer, TopicPartition
from workers import WorkerProcess

from streamapp.kafka import client_options
from streamapp.local.kafka.broker import KafkaBroker
from streamapp.local.outcomes import OutcomeReader, wait_until_committed
from streamapp.records import SourcePosition
from streamapp.settings import load_settings
from streamapp.topics import ensure_topics

TIMEOUT_S = 60
COMMIT_S = 15
GAP = 3


async def send(producer: AIOKafkaProducer, place: TopicPartition) -> SourcePosition:
    """Send an event in a transaction, whose end takes an offset."""
    async with producer.transaction():
        record = await producer.send_and_wait(place.topic, b"no event", partition=place.partition)
    return SourcePosition(place.topic, place.partition, record.offset)


async def leave_a_marker(producer: AIOKafkaProducer, place: TopicPartition) -> None:
    """Take an offset for the end of a transaction that has no event."""
    await producer.begin_transaction()
    producer._txn_manager.maybe_add_partition_to_txn(place)
    async with asyncio.timeout(TIMEOUT_S):
        while producer._txn_manager.partitions_to_add():
            await asyncio.sleep(0.01)
    await producer.abort_transaction()


async def test_events_behind_gaps_are_committed_one_behind_the_topics_first_event_too(
    kafka_variables: dict[str, str], kafka_broker: KafkaBroker, tmp_path: Path
) -> None:
    variables = kafka_variables | {"STREAMAPP_BROKERS": kafka_broker.bootstrap_servers}
    settings = load_settings(variables)
    await ensure_topics(settings)
    place = TopicPartition(settings.events_topic, 0)
    sent = []
    async with AIOKafkaProducer(transactional_id=settings.group, **client_options(settings)) as producer:
        for _ in range(3):
            sent.append(await send(producer, place))
            for _ in range(GAP):
                await leave_a_marker(producer, place)
    assert [source.offset for source in sent] == [0, GAP + 2, 2 * (GAP + 2)]

    async with OutcomeReader(settings) as reader:
        with WorkerProcess(variables, tmp_path) as worker:
            overdue = await reader.collect(
                sent, timeout_s=TIMEOUT_S, on_outcome=lambda _: None, check=worker.check
            )
            assert not overdue, worker.log
            assert not await wait_until_committed(settings, sent, timeout_s=COMMIT_S), worker.log
