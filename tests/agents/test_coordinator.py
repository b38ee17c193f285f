"""Committed offsets that the broker does not tell yet, or that a worker out of its group would set."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import CommitFailedError
from aiokafka.protocol.commit import OffsetFetchRequest, OffsetFetchResponse_v3

from streamapp.agents.coordinator import guard_offsets
from streamapp.kafka import client_options
from streamapp.local.kafka.broker import KafkaBroker
from streamapp.reading import stop_consumer
from streamapp.settings import Settings
from streamapp.topics import ensure_topics

TIMEOUT_S = 30
COMMITTED = 7
GROUP_LOADS, NO_COORDINATOR, NOT_COORDINATOR = 14, 15, 16


@pytest.fixture
def kafka_variables(kafka_variables: dict[str, str], kafka_broker: KafkaBroker) -> dict[str, str]:
    return kafka_variables | {"STREAMAPP_BROKERS": kafka_broker.bootstrap_servers}


async def _joined(settings: Settings) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(
        settings.events_topic, group_id=settings.group, enable_auto_commit=False, **client_options(settings)
    )
    try:
        await consumer.start()
        yield consumer
    finally:
        await stop_consumer(consumer)


def refuse_once(consumer: AIOKafkaConsumer, code: int) -> list[Any]:
    """Answer the next question for offsets as Kafka 4.3.1 was seen to; the broker answers those after it.

    Returns:
        The questions, in time.
    """
    send = consumer._client.send
    asked: list[Any] = []

    async def answer(node: int, request: Any, **options: Any) -> Any:
        if isinstance(request, OffsetFetchRequest):
            asked.append(request)
            if len(asked) == 1:
                return OffsetFetchResponse_v3(throttle_time_ms=0, topics=[], error_code=code)
        return await send(node, request, **options)

    consumer._client.send = answer
    return asked


@pytest.mark.parametrize("code", [GROUP_LOADS, NO_COORDINATOR, NOT_COORDINATOR])
async def test_a_refusal_is_not_taken_for_nothing_committed(kafka_settings: Settings, code: int) -> None:
    await ensure_topics(kafka_settings)
    partition = TopicPartition(kafka_settings.events_topic, 0)
    async with asyncio.timeout(TIMEOUT_S), aclosing(_joined(kafka_settings)) as members:
        consumer = await anext(members)
        guard_offsets(consumer._coordinator)
        await consumer.commit({partition: COMMITTED})
        asked = refuse_once(consumer, code)

        assert await consumer.committed(partition) == COMMITTED
        assert len(asked) > 1


async def test_a_consumer_that_is_out_of_its_group_commits_nothing(kafka_settings: Settings) -> None:
    await ensure_topics(kafka_settings)
    partition = TopicPartition(kafka_settings.events_topic, 0)
    async with asyncio.timeout(TIMEOUT_S), aclosing(_joined(kafka_settings)) as members:
        consumer = await anext(members)
        guard_offsets(consumer._coordinator)
        await consumer.commit({partition: COMMITTED})
        # What aiokafka does when the broker does not know it any more, and before it joins again.
        await consumer._coordinator._maybe_leave_group()

        with pytest.raises(CommitFailedError):
            await consumer.commit({partition: COMMITTED - 1})
        assert await consumer.committed(partition) == COMMITTED
