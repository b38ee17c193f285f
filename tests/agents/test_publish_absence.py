"""The publisher while Apache Kafka is away, or has no topic for it: what it waits for and what it tells."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import NotEnoughReplicasError
from kafka_records import records_of, row_of

from streamapp.agents import publish
from streamapp.agents.publish import Publisher
from streamapp.errors import BrokerError, DeadLetterReason
from streamapp.kafka import client_options
from streamapp.local.broker import EmbeddedBroker, free_port
from streamapp.local.kafka.broker import KafkaBroker
from streamapp.records import SourcePosition
from streamapp.settings import Settings, load_settings
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


async def create_topic(admin: AIOKafkaAdminClient, topic: NewTopic) -> None:
    """Create a topic, and wait until the broker itself has learnt of it."""
    await admin.create_topics([topic])
    async with asyncio.timeout(TIMEOUT_S):
        while topic.name not in await admin.list_topics():
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
        await create_topic(admin, compacted)
        with pytest.raises(BrokerError, match=f"refuses a record for the topic {compacted.name}"):
            letter = publisher.publish_dead_letter(position, None, b"{", [], reason, "It is not JSON.")
            await asyncio.wait_for(letter, TIMEOUT_S)


class LackingReplicas:
    """A producer whose records' replicas are too few, each record in its own time, until there are enough."""

    def __init__(self) -> None:
        self.are_enough = False
        self.sent = 0

    async def send(self, *arguments: object, **options: object) -> asyncio.Future[None]:
        acknowledged = asyncio.get_running_loop().create_future()
        if self.are_enough:
            acknowledged.set_result(None)
        else:
            acknowledged.get_loop().call_later(
                0.05 + self.sent % ROWS / 1000, acknowledged.set_exception, NotEnoughReplicasError()
            )
        self.sent += 1
        return acknowledged


async def test_a_topic_that_lacks_replicas_is_waited_for_and_its_broker_asked_once_in_a_while(
    kafka_settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked_at: list[float] = []

    async def answer(*arguments: object, **options: object) -> bool:
        asked_at.append(asyncio.get_running_loop().time())
        return True

    monkeypatch.setattr(publish, "wait_for_topics", answer)
    publisher = Publisher(kafka_settings, request_timeout_ms=100, ask_every_s=0.1)
    publisher._producer = producer = LackingReplicas()
    publishing = asyncio.gather(*(publisher.publish_row(row_of(str(user))) for user in range(ROWS)))
    # Twice as long as a broker may be out of reach: this one answers.
    while len(asked_at) < 2 * publish.UNREACHED_AFTER:
        assert not publishing.done(), publishing.result()
        await asyncio.sleep(0.05)
    producer.are_enough = True
    assert await asyncio.wait_for(publishing, TIMEOUT_S) == [True] * ROWS

    assert min(later - sooner for sooner, later in itertools.pairwise(asked_at)) > 0.09
    assert caplog.text.count("took no record for the topic") == 1
    assert "NotEnoughReplicasError" in caplog.text


async def test_a_broker_whose_address_has_changed_ends_the_worker_although_it_answers_others(
    kafka_variables: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    ports = free_port(), free_port()
    brokers = ",".join(f"127.0.0.1:{port}" for port in ports)
    settings = load_settings(kafka_variables | {"STREAMAPP_BROKERS": brokers})
    with EmbeddedBroker(ports[0]) as old:
        await ensure_topics(settings)
        publisher = await Publisher(settings, request_timeout_ms=250, ask_every_s=0.1).__aenter__()
        assert await publisher.publish_row(row_of("before"))
        await asyncio.to_thread(old.stop)
    with EmbeddedBroker(ports[1]):
        await ensure_topics(settings)
        with pytest.raises(BrokerError, match="answers, but this worker's producer has not reached it"):
            await asyncio.wait_for(publisher.publish_row(row_of("after")), TIMEOUT_S)
        await publisher.__aexit__(None, None, None)


class SilentProducer:
    """Takes a record and never says what became of it."""

    async def send(self, *arguments: object, **options: object) -> asyncio.Future[None]:
        return asyncio.get_running_loop().create_future()


async def test_a_producer_that_hangs_ends_the_worker_and_not_its_patience(
    kafka_settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    await ensure_topics(kafka_settings)
    publisher = Publisher(kafka_settings, request_timeout_ms=20, ask_every_s=0.01)
    publisher._producer = SilentProducer()
    with pytest.raises(BrokerError, match="The producer does not come back"):
        await asyncio.wait_for(publisher.publish_row(row_of("1")), TIMEOUT_S)


async def test_the_end_does_not_wait_for_records_that_nobody_waits_for(
    kafka_variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "CLOSE_TIMEOUT_S", 0.1)
    port = free_port()
    settings = load_settings(kafka_variables | {"STREAMAPP_BROKERS": f"127.0.0.1:{port}"})
    with EmbeddedBroker(port) as broker:
        await ensure_topics(settings)
        # Its request timeout is longer than this test may last.
        async with asyncio.timeout(TIMEOUT_S), Publisher(settings, request_timeout_ms=600_000) as publisher:
            assert await publisher.publish_row(row_of("before"))
            await asyncio.to_thread(broker.stop)
            publishing = asyncio.create_task(publisher.publish_row(row_of("after")))
            assert not (await asyncio.wait({publishing}, timeout=0.3))[0]
            publishing.cancel()


async def test_a_waiter_that_is_cancelled_leaves_the_question_to_the_next(
    kafka_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    producer, asked, is_back = LackingReplicas(), asyncio.Queue[None](), asyncio.Event()

    async def ask(*arguments: object, **options: object) -> bool:
        asked.put_nowait(None)
        return await is_back.wait()

    monkeypatch.setattr(publish, "wait_for_topics", ask)
    publisher = impatient(kafka_settings)
    publisher._producer = producer
    first, second = (asyncio.create_task(publisher.publish_row(row_of(uid))) for uid in ("1", "2"))
    await asyncio.wait_for(asked.get(), TIMEOUT_S)
    first.cancel()
    await asyncio.wait_for(asked.get(), TIMEOUT_S)
    producer.are_enough = True
    is_back.set()

    assert await asyncio.wait_for(second, TIMEOUT_S)
    assert first.cancelled()


async def test_a_broker_that_takes_not_even_an_empty_dead_letter_is_an_error(
    kafka_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ensure_topics(kafka_settings)
    monkeypatch.setattr(publish, "MAX_RECORD_BYTES", 10)
    position, reason = SourcePosition("modify_user", 3, 41210), DeadLetterReason.NOT_JSON
    async with impatient(kafka_settings) as publisher:
        with pytest.raises(BrokerError, match=r"Look at the topic's max\.message\.bytes"):
            await publisher.publish_dead_letter(position, b"k", b"{", [], reason, "It is not JSON.")


async def test_a_broker_that_is_away_at_the_start_is_one_error_of_ours(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(BrokerError, match="does not answer"):
        async with impatient(Settings(brokers=f"127.0.0.1:{free_port()}")):
            pass
