"""Sending events and reading what comes of them, on the embedded broker."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from rows import make_row

from streamapp.errors import BrokerError, DeadLetterReason
from streamapp.kafka import client_options
from streamapp.local.broker import free_port
from streamapp.local.events import key_of, make_event, read_lines
from streamapp.local.outcomes import Outcome, OutcomeReader, wait_until_committed
from streamapp.local.sending import send_values
from streamapp.records import SourcePosition, dead_letter_headers, leaves_a_record
from streamapp.settings import Settings, load_settings
from streamapp.topics import ensure_topics

SOURCE = SourcePosition("modify_user", 3, 41_210)
NESTED = b'{"a":' + b"[" * 100_000


@pytest.fixture
async def producer(kafka_settings: Settings) -> AsyncIterator[AIOKafkaProducer]:
    await ensure_topics(kafka_settings)
    async with AIOKafkaProducer(**client_options(kafka_settings)) as producer:
        yield producer


async def collect(
    reader: OutcomeReader, sources: set[SourcePosition]
) -> tuple[list[Outcome], set[SourcePosition]]:
    found: list[Outcome] = []
    missing = await reader.collect(sources, timeout_s=10, on_outcome=found.append)
    return found, missing


async def test_values_arrive_as_they_are_with_their_positions(kafka_settings: Settings) -> None:
    await ensure_topics(kafka_settings)
    values = [make_event("7", "https://cdn.example.com/7.png"), b"{not json", make_event("8", None)]
    sent = [pair async for pair in send_values(kafka_settings, values)]
    assert [value for value, _ in sent] == values
    async with AIOKafkaConsumer(**client_options(kafka_settings)) as consumer:
        for value, position in sent:
            place = TopicPartition(position.topic, position.partition)
            consumer.assign([place])
            consumer.seek(place, position.offset)
            record = (await consumer.getmany(timeout_ms=10_000))[place][0]
            assert (record.value, record.key) == (value, key_of(value))


async def test_no_broker_is_an_error_of_ours() -> None:
    settings = load_settings({}, brokers=f"127.0.0.1:{free_port()}")
    with pytest.raises(BrokerError, match="did not take the events"):
        async for _ in send_values(settings, [b"{}"]):
            pytest.fail("An event was taken.")


async def test_a_row_and_a_dead_letter_are_read_with_the_position_of_their_event(
    kafka_settings: Settings, producer: AIOKafkaProducer
) -> None:
    other = SourcePosition("modify_user", 0, 5)
    row = make_row(SOURCE, TO_BE_MODERATED=True)
    headers = dead_letter_headers(other, DeadLetterReason.NOT_JSON, "The value is not JSON.")
    async with OutcomeReader(kafka_settings) as reader:
        await producer.send_and_wait(kafka_settings.results_topic, row.to_json(), key=b"7")
        await producer.send_and_wait(kafka_settings.dead_letter_topic, b"{", headers=headers)
        found, missing = await collect(reader, {SOURCE, other})
    assert missing == set()
    by_source = {outcome.source: outcome for outcome in found}
    assert by_source[SOURCE].row == row
    assert by_source[other] == Outcome(other, b"{", dead_letter="not_json", message="The value is not JSON.")


async def test_records_of_others_on_the_topics_are_passed_over(
    kafka_settings: Settings, producer: AIOKafkaProducer
) -> None:
    async with OutcomeReader(kafka_settings) as reader:
        for value in (b"{", b"{}", NESTED, None, make_row(SOURCE, source=None).to_json()):
            await producer.send_and_wait(kafka_settings.results_topic, value, key=b"7")
        await producer.send_and_wait(kafka_settings.dead_letter_topic, b"no headers")
        await producer.send_and_wait(kafka_settings.results_topic, make_row(SOURCE).to_json())
        found, missing = await collect(reader, {SOURCE})
    assert ([outcome.source for outcome in found], missing) == ([SOURCE], set())


async def test_the_events_without_an_outcome_are_told(
    kafka_settings: Settings, producer: AIOKafkaProducer
) -> None:
    async with OutcomeReader(kafka_settings) as reader:
        missing = await reader.collect({SOURCE}, timeout_s=0.1, on_outcome=lambda outcome: None)
    assert missing == {SOURCE}


async def test_a_check_that_raises_ends_the_waiting(
    kafka_settings: Settings, producer: AIOKafkaProducer
) -> None:
    def check() -> None:
        raise BrokerError("The worker ended.")

    async with OutcomeReader(kafka_settings) as reader:
        with pytest.raises(BrokerError, match="worker ended"):
            await reader.collect({SOURCE}, timeout_s=60, on_outcome=lambda outcome: None, check=check)


async def test_missing_topics_are_told_with_the_command_that_creates_them(kafka_settings: Settings) -> None:
    with pytest.raises(BrokerError, match=f"no topic .*{kafka_settings.results_topic}.*streamapp topics"):
        async with OutcomeReader(kafka_settings):
            pytest.fail("The reader started.")


async def test_an_event_counts_as_committed_once_the_group_has_passed_it(
    kafka_settings: Settings, producer: AIOKafkaProducer
) -> None:
    record = await producer.send_and_wait(kafka_settings.events_topic, b"{}", partition=0)
    event = SourcePosition(record.topic, record.partition, record.offset)
    assert await wait_until_committed(kafka_settings, {event}, timeout_s=0) == {event}
    options = {**client_options(kafka_settings), "group_id": kafka_settings.group}
    async with AIOKafkaConsumer(**options, enable_auto_commit=False) as consumer:
        consumer.assign([TopicPartition(event.topic, event.partition)])
        await consumer.commit({TopicPartition(event.topic, event.partition): event.offset})
        assert await wait_until_committed(kafka_settings, {event}, timeout_s=0) == {event}
        waiting = asyncio.create_task(wait_until_committed(kafka_settings, {event}, timeout_s=10))
        await consumer.commit({TopicPartition(event.topic, event.partition): event.offset + 1})
        assert await waiting == set()


@pytest.mark.parametrize(
    ("value", "key"),
    [
        (make_event("7", None), b"7"),
        (b'{"user_id": 7}', b"7"),
        (b'{"user_id": true}', None),
        (b'{"user_id": null}', None),
        (b'{"user_id": "\\ud800"}', None),
        (b"[1]", None),
        (b"\xff", None),
        (b"[" * 100_000, None),
        (b"", None),
    ],
    ids=range(9),
)
def test_the_key_is_the_user_id_where_it_can_be_read(value: bytes, key: bytes | None) -> None:
    assert key_of(value) == key


def test_only_an_event_that_removes_the_picture_leaves_no_record() -> None:
    assert not leaves_a_record(make_event("7", ""))
    assert leaves_a_record(make_event("7", "nonsense"))
    assert leaves_a_record(b"nonsense")


def test_lines_are_taken_as_they_are_without_blank_ones() -> None:
    assert list(read_lines(iter([b'{"a": 1} \r\n', b"\n", b"  \n", b"nonsense"]))) == [
        b'{"a": 1} ',
        b"nonsense",
    ]  # type: ignore[arg-type]
