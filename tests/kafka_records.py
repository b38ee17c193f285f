"""Rows to publish and records to read back, for the tests that need a broker."""

import asyncio
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition

from streamapp.kafka import client_options
from streamapp.records import ModelAttributes, ResultRow
from streamapp.settings import Settings

TIMEOUT_S = 30


def row_of(
    uid: str, *, second: int = 0, status: int = 0, is_flagged: bool = False, **columns: Any
) -> ResultRow:
    """A row that was received at this second of a minute; the columns replace the row's own."""
    attributes = ModelAttributes(
        USER_ID=uid,
        NN_STATUS=status,
        NN_PREDICTION_SUCCESS=status == 0,
        NN_UNSAFE_SCORES="0.0400, 0.3038" if status == 0 else "",
        PROVENANCE={"reason": None if status == 0 else "not_found", "attempts": 1},
    )
    row: dict[str, Any] = {
        "UID": uid,
        "USERNAME": "example_name",
        "IMAGE_URL": f"https://cdn.example.com/user/{uid}.png",
        "COUNTRY": "co",
        "EVENT_TIME": None,
        "MESSAGE_RECEIVE_TIME": f"2022-06-21 02:18:{second:02}.776753+00:00",
        "TOTAL_DURATION": 0.125,
        "MODEL_ATTRIBUTES": attributes,
        "PREDICTED_PRIMARY_CATEGORY": "",
        "PREDICTED_SECONDARY_CATEGORY": "",
        "MODEL_VERSION": "1.0.0",
        "TO_BE_MODERATED": is_flagged,
    }
    return ResultRow(**(row | columns))


async def publish(settings: Settings, topic: str, *values: bytes | None) -> None:
    """Send the values, one after the other, each acknowledged by the broker, to several partitions."""
    async with AIOKafkaProducer(**client_options(settings)) as producer:
        for number, value in enumerate(values):
            await producer.send_and_wait(topic, value, key=b"%d" % number)


async def records_of(settings: Settings, topic: str, count: int) -> list[ConsumerRecord]:
    """The first `count` records of a topic; fails where they do not come."""
    records: list[ConsumerRecord] = []
    async with AIOKafkaConsumer(**client_options(settings)) as consumer, asyncio.timeout(TIMEOUT_S):
        partitions = [TopicPartition(topic, number) for number in range(settings.topic_partitions)]
        consumer.assign(partitions)
        for partition in partitions:
            consumer.seek(partition, 0)
        while len(records) < count:
            for batch in (await consumer.getmany(timeout_ms=500)).values():
                records += batch
    return records
