"""The publisher while Apache Kafka is away, or has no topic for it: what it waits for and what it tells."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from kafka_records import records_of, row_of

from streamapp.agents.publish import Publisher
from streamapp.errors import BrokerError, DeadLetterReason
from streamapp.kafka import client_options
from streamapp.local.kafka.broker import KafkaBroker
from streamapp.records import SourcePosition
from streamapp.settings import Settings
from streamapp.topics import ensure_topics

ROWS = 40
TIMEOUT_S = 60


@pytest.fixture
async def settings(kafka_settings: Settings, kafka_broker: KafkaBroker) -> Settings:
    settings = kafka_settings.model_copy(update={"brokers": kafka_broker.bootstrap_servers})
    await ensure_topics(settings)
    return settings


def impatient(settings: Settings) -> Publisher:
    return Publisher(settings, request_timeout_ms=500, ask_every_s=0.2)


async def publish_all(publisher: Publisher) -> list[bool | None]:
    """Rows, and a dead letter, all at the same time."""
    position, reason = SourcePosition("modify_user", 3, 41210), DeadLetterReason.NOT_JSON
    return await asyncio.gather(
        publisher.publish_dead_letter(position, b"k", b"{", [], reason, "It is not JSON."),
        *(publisher.publish_row(row_of(str(user))) for user in range(ROWS)),
    )


async def until_written(settings: Settings, keys: set[bytes]) -> bool:
    """Read until rows with all of these keys are there, some perhaps twice; whether there are no others."""
    count, found = len(keys), set[bytes]()
    while not keys <= found:
        records = await records_of(settings, settings.results_topic, count)
        count, found = len(records) + 1, {record.key for record in records}
    return found == keys


@asynccontextmanager
async def admin_of(settings: Settings) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(**client_options(settings))
    try:
        await admin.start()
        yield admin
    finally:
        await admin.close()


async def until_logged(caplog: pytest.LogCaptureFixture, text: str, work: asyncio.Task[object]) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while text not in caplog.text:
            assert not work.done(), work.result()
            await asyncio.sleep(0.05)


async def test_what_is_in_flight_waits_until_a_broker_that_was_away_is_back(
    settings: Settings, kafka_broker: KafkaBroker, caplog: pytest.LogCaptureFixture
) -> None:
    async with impatient(settings) as publisher:
        assert await publisher.publish_row(row_of("before"))
        await asyncio.to_thread(kafka_broker.kill)
        try:
            publishing = asyncio.create_task(publish_all(publisher))
            await until_logged(caplog, "does not answer", publishing)
        finally:
            await asyncio.to_thread(kafka_broker.start)
        assert await asyncio.wait_for(publishing, TIMEOUT_S) == [None, *[True] * ROWS]

    assert await until_written(settings, {b"before", *(b"%d" % user for user in range(ROWS))})
    assert (await records_of(settings, settings.dead_letter_topic, 1))[0].value == b"{"
    # One asks for all that wait, and says so.
    assert caplog.text.count("took no record for the topic") < ROWS // 4
    assert "answers after" in caplog.text


async def test_a_topic_that_is_missing_is_told_and_not_waited_for(settings: Settings) -> None:
    async with admin_of(settings) as admin, impatient(settings) as publisher:
        assert await publisher.publish_row(row_of("before"))
        await admin.delete_topics([settings.results_topic])
        with pytest.raises(BrokerError, match=f"has no topic {settings.results_topic}: `streamapp topics`"):
            async with asyncio.timeout(TIMEOUT_S):
                # The broker takes records until it, too, has learnt that the topic is gone.
                while True:
                    await publisher.publish_row(row_of("after"))


async def test_a_record_that_the_broker_refuses_is_an_error_and_not_sent_again(settings: Settings) -> None:
    # A compacted topic takes no record without a key.
    compacted = NewTopic(
        f"{settings.dead_letter_topic}-compacted", 1, 1, topic_configs={"cleanup.policy": "compact"}
    )
    settings = settings.model_copy(update={"dead_letter_topic": compacted.name})
    position, reason = SourcePosition("modify_user", 3, 41210), DeadLetterReason.NOT_JSON
    async with admin_of(settings) as admin, impatient(settings) as publisher:
        await admin.create_topics([compacted])
        with pytest.raises(BrokerError, match=f"refuses a record for the topic {compacted.name}"):
            letter = publisher.publish_dead_letter(position, None, b"{", [], reason, "It is not JSON.")
            await asyncio.wait_for(letter, TIMEOUT_S)
