"""Sending dead letters back, on the embedded broker; what it can't do on Apache Kafka."""

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer, ConsumerRecord
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaTimeoutError
from dead_letter_records import publish_letter, publish_record
from kafka_records import records_of

from streamapp.agents.publish import MAX_RECORD_BYTES, Publisher
from streamapp.dead_letters.reader import Choice
from streamapp.dead_letters.replay import Decision, LeftOut, Replay
from streamapp.errors import BrokerError, DeadLetterReason
from streamapp.kafka import client_options
from streamapp.local.kafka.broker import KafkaBroker
from streamapp.reading import OffsetRange, Ranges
from streamapp.records import SourcePosition
from streamapp.settings import Settings
from streamapp.topics import ensure_topics

TIMEOUT_S = 60
EVERY = Choice()


@pytest.fixture
async def settings(kafka_settings: Settings) -> Settings:
    """The embedded broker, with its topics."""
    await ensure_topics(kafka_settings)
    return kafka_settings


@pytest.fixture
async def on_kafka(kafka_settings: Settings, kafka_broker: KafkaBroker) -> Settings:
    """Apache Kafka, with its topics."""
    settings = kafka_settings.model_copy(update={"brokers": kafka_broker.bootstrap_servers})
    await ensure_topics(settings)
    return settings


async def replay(
    settings: Settings,
    choice: Choice = EVERY,
    *,
    max_replays: int = 3,
    again: bool = False,
    ranges: Ranges | None = None,
) -> list[Decision]:
    async with (
        asyncio.timeout(TIMEOUT_S),
        Replay(settings, choice, max_replays=max_replays, again=again, ranges=ranges) as replay,
    ):
        planned = [decision async for decision in replay.planned()]
        decided = [decision async for decision in replay.send(asyncio.Event())]
    assert sorted(map(outcome_of, planned)) == sorted(map(outcome_of, decided)), "The plan was another."
    return decided


def outcome_of(decision: Decision) -> tuple[str, int, str]:
    return decision.letter.place, decision.replays, decision.left_out or ""


def left_out(decisions: Iterable[Decision]) -> dict[int, LeftOut | None]:
    """The letter's offset → why it was not sent."""
    assert all((one.left_out is None) == (one.sent_to is not None) for one in decisions)
    return {one.letter.position.offset: one.left_out for one in decisions}


async def events(settings: Settings, count: int) -> list[ConsumerRecord]:
    return await records_of(settings, settings.events_topic, count)


async def test_a_dead_letter_goes_back_as_it_came_with_the_count_beside_it(settings: Settings) -> None:
    own: Any = [("trace", b"1"), ("trace", b"2"), ("empty", None)]
    await publish_letter(settings, b"\xff{not json", key=b"k\xff", headers=own)
    (decision,) = await replay(settings)
    (record,) = await events(settings, 1)

    assert (record.key, record.value) == (b"k\xff", b"\xff{not json")
    assert list(record.headers) == [*own, ("streamapp.replays", b"1")]
    assert decision.sent_to == SourcePosition(record.topic, record.partition, record.offset)


@pytest.mark.parametrize(("key", "value"), [(None, b"{"), (b"k", None), (b"k", b"")])
async def test_what_is_absent_stays_absent(
    settings: Settings, key: bytes | None, value: bytes | None
) -> None:
    await publish_letter(settings, value, key=key)
    await replay(settings)
    (record,) = await events(settings, 1)

    assert (record.key, record.value) == (key, value)


async def test_the_count_goes_on_and_ends_at_the_bound(settings: Settings) -> None:
    for count in (b"1", b"2", b"3", b"4"):
        await publish_letter(settings, headers=[("streamapp.replays", count)])

    assert left_out(await replay(settings)) == {0: None, 1: None, 2: LeftOut.AT_BOUND, 3: LeftOut.AT_BOUND}
    records = await events(settings, 2)
    assert sorted(dict(record.headers)["streamapp.replays"] for record in records) == [b"2", b"3"]


@pytest.mark.parametrize("fits", [True, False])
async def test_the_count_survives_another_dead_letter_of_the_same_record(
    settings: Settings, *, fits: bool
) -> None:
    await publish_letter(settings, b"{not json", headers=[("trace", b"1")])
    await replay(settings)
    (record,) = await events(settings, 1)
    position = SourcePosition(record.topic, record.partition, record.offset)
    # As a worker does; a value that the dead-letter topic has no room for is left out, and the headers too.
    value = record.value if fits else b"x" * MAX_RECORD_BYTES
    async with Publisher(settings) as publisher:
        headers = list(record.headers)
        await publisher.publish_dead_letter(
            position, record.key, value, headers, DeadLetterReason.NOT_JSON, "No."
        )

    (again,) = [one for one in await replay(settings) if one.left_out is None]
    assert again.replays == 2


async def test_what_was_sent_is_not_sent_again_unless_it_is_wanted(settings: Settings) -> None:
    await publish_letter(settings)
    assert left_out(await replay(settings)) == {0: None}
    await publish_letter(settings)

    assert left_out(await replay(settings)) == {0: LeftOut.REPLAYED, 1: None}
    assert left_out(await replay(settings, again=True)) == {0: None, 1: None}


async def test_only_what_was_chosen_is_sent(settings: Settings) -> None:
    for partition in (0, 1):
        for reason in (DeadLetterReason.NOT_JSON, DeadLetterReason.NO_USER_ID):
            await publish_letter(settings, partition=partition, reason=reason)
    choice = Choice(reasons=frozenset({"no_user_id"}), offsets={1: OffsetRange(0, 99)})

    (decision,) = await replay(settings, choice)
    assert decision.letter.place == "1:1"


async def test_dead_letters_that_come_of_the_replay_are_not_among_it(settings: Settings) -> None:
    await publish_letter(settings)
    async with Replay(settings, EVERY, max_replays=3) as first:
        ranges = first.ranges
    await publish_letter(settings)

    assert left_out(await replay(settings, ranges=ranges)) == {0: None}


async def test_a_value_that_was_left_out_is_read_from_where_it_came(settings: Settings) -> None:
    original = await publish_record(
        settings,
        settings.events_topic,
        b"{too large",
        partition=2,
        key=b"k",
        headers=[("trace", b"1"), ("streamapp.replays", b"1")],
    )
    source = SourcePosition(original.topic, 2, original.offset)
    for position in (
        source,
        SourcePosition(original.topic, 2, 10**9),
        SourcePosition(original.topic, 10**6, 0),
    ):
        await publish_letter(settings, b"", key=None, source=position, lacks=b"left out: too large")
    decisions = await replay(settings)
    records = await events(settings, 2)

    assert left_out(decisions) == {0: None, 1: LeftOut.SOURCE_GONE, 2: LeftOut.SOURCE_GONE}
    (sent,) = [one for one in records if (one.partition, one.offset) != (2, original.offset)]
    assert (sent.key, sent.value) == (b"k", b"{too large")
    # The count comes from the original too: the dead letter may have lost it.
    assert list(sent.headers) == [("trace", b"1"), ("streamapp.replays", b"2")]


async def test_what_can_not_be_sent_back_is_left_out(settings: Settings) -> None:
    await publish_letter(settings, b"", key=None, lacks=b"null")
    await publish_letter(settings, source=SourcePosition("another-topic", 0, 0))

    assert left_out(await replay(settings)) == {0: LeftOut.EMPTY, 1: LeftOut.OTHER_TOPIC}


async def test_records_of_someone_else_are_passed_over(settings: Settings) -> None:
    await publish_record(settings, settings.dead_letter_topic, b"no dead letter")
    await publish_letter(settings)

    assert left_out(await replay(settings)) == {1: None}


async def test_what_the_broker_took_is_remembered_where_it_did_not_take_all(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for value in (b"a", b"b", b"refused"):
        await publish_letter(settings, value)
    hand_over = Replay._hand_over

    async def refuse_one(self: Replay, producer: AIOKafkaProducer, decision: Decision) -> Any:
        if decision.letter.value != b"refused":
            return await hand_over(self, producer, decision)
        refused: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        refused.set_exception(KafkaTimeoutError())
        return refused

    with monkeypatch.context() as patch:
        patch.setattr(Replay, "_hand_over", refuse_one)
        with pytest.raises(
            BrokerError, match=r"did not take a dead letter back: KafkaTimeoutError.*remembered"
        ):
            await replay(settings)

    assert left_out(await replay(settings)) == {0: LeftOut.REPLAYED, 1: LeftOut.REPLAYED, 2: None}


async def test_what_a_partition_does_not_have_is_told(settings: Settings) -> None:
    await publish_letter(settings)
    with pytest.raises(BrokerError, match="has the partitions 0 to 7, no 8"):
        await replay(settings, Choice(offsets={8: OffsetRange(0, 1)}))
    with pytest.raises(BrokerError, match=r"Partition 0 of .* has none of these offsets; it holds 0 to 0"):
        await replay(settings, Choice(offsets={0: OffsetRange(1, 5)}))


async def test_scattered_replays_are_remembered(on_kafka: Settings, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(6):
        await publish_letter(on_kafka, reason=list(DeadLetterReason)[number % 2])
    choice = Choice(reasons=frozenset({DeadLetterReason.NOT_AN_OBJECT}))

    assert left_out(await replay(on_kafka, choice)) == {1: None, 3: None, 5: None}
    sent = dict.fromkeys((1, 3, 5), LeftOut.REPLAYED)
    assert left_out(await replay(on_kafka)) == sent | {0: None, 2: None, 4: None}
    assert left_out(await replay(on_kafka)) == dict.fromkeys(range(6), LeftOut.REPLAYED)
    assert "keeps no metadata" not in caplog.text


async def test_a_broker_that_forgets_scattered_replays_is_told(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(4):
        await publish_letter(settings, reason=list(DeadLetterReason)[number % 2])
    await replay(settings, Choice(reasons=frozenset({DeadLetterReason.NOT_AN_OBJECT})))

    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert f"sent back of {settings.dead_letter_topic}[0] behind a dead letter that is not" in warning


async def test_a_stopped_replay_goes_on_with_the_rest(on_kafka: Settings) -> None:
    # Two of them do not fit into one fetch.
    values = [bytes([65 + number]) * 600_000 for number in range(4)]
    for value in values:
        await publish_letter(on_kafka, value)
    stop = asyncio.Event()
    async with asyncio.timeout(TIMEOUT_S), Replay(on_kafka, EVERY, max_replays=3) as stopped:
        before = []
        async for decision in stopped.send(stop):
            before.append(decision)
            stop.set()
    after = await replay(on_kafka)

    sent = {offset for offset, why in left_out(before).items() if why is None}
    assert 0 < len(sent) < 4
    assert left_out(after) == {offset: LeftOut.REPLAYED if offset in sent else None for offset in range(4)}
    assert sorted(record.value for record in await events(on_kafka, 4)) == values


async def test_a_record_that_the_broker_finds_too_large_is_left_out_and_its_neighbours_go(
    kafka_settings: Settings, kafka_broker: KafkaBroker
) -> None:
    settings = kafka_settings.model_copy(update={"brokers": kafka_broker.bootstrap_servers})
    admin = AIOKafkaAdminClient(**client_options(settings))
    await admin.start()
    limit = {"max.message.bytes": "100000"}
    await admin.create_topics([NewTopic(settings.events_topic, 1, 1, topic_configs=limit)])
    await admin.close()
    await ensure_topics(settings)
    for value in (b"a", b"x" * 200_000, b"b"):
        await publish_letter(settings, value)
    async with asyncio.timeout(TIMEOUT_S), Replay(settings, EVERY, max_replays=3) as replay:
        decisions = [decision async for decision in replay.send(asyncio.Event())]

    assert left_out(decisions) == {0: None, 1: LeftOut.TOO_LARGE, 2: None}
