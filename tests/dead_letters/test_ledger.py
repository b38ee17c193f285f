"""What has been sent back, kept in Kafka's committed offsets."""

import base64
import random
import zlib

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from streamapp.dead_letters.ledger import ledger_group, open_ledger, read_ledger
from streamapp.errors import BrokerError
from streamapp.kafka import client_options
from streamapp.local.kafka.broker import KafkaBroker
from streamapp.offset_set import OffsetSet
from streamapp.reading import OffsetRange
from streamapp.records import SourcePosition
from streamapp.settings import Settings
from streamapp.topics import ensure_topics


@pytest.fixture
async def settings(kafka_settings: Settings, kafka_broker: KafkaBroker) -> Settings:
    """Apache Kafka, with its topics: the embedded broker keeps no metadata of offsets."""
    settings = kafka_settings.model_copy(update={"brokers": kafka_broker.bootstrap_servers})
    await ensure_topics(settings)
    return settings


def positions(settings: Settings, *offsets: int, partition: int = 0) -> list[SourcePosition]:
    return [SourcePosition(settings.dead_letter_topic, partition, offset) for offset in offsets]


def held(settings: Settings, first: int = 0, end: int = 20_000) -> dict[TopicPartition, OffsetRange]:
    return {TopicPartition(settings.dead_letter_topic, number): OffsetRange(first, end) for number in (0, 1)}


async def remembered(settings: Settings, first: int = 0, end: int = 20_000) -> list[OffsetSet]:
    return list((await read_ledger(settings, held(settings, first, end))).values())


async def commit(settings: Settings, offset: int, metadata: str) -> None:
    place = TopicPartition(settings.dead_letter_topic, 0)
    group = ledger_group(settings)
    async with AIOKafkaConsumer(
        group_id=group, enable_auto_commit=False, **client_options(settings)
    ) as consumer:
        consumer.assign([place])
        await consumer.commit({place: OffsetAndMetadata(offset, metadata)})


async def test_nothing_is_remembered_before_a_replay(settings: Settings) -> None:
    assert await remembered(settings) == [OffsetSet(), OffsetSet()]


async def test_what_is_noted_is_there_for_the_next(settings: Settings) -> None:
    async with open_ledger(settings, held(settings)) as ledger:
        await ledger.note(positions(settings, 0, 1, 5))
        await ledger.note([*positions(settings, 2, 9), *positions(settings, 7, partition=1)])
        assert positions(settings, 9)[0] in ledger
        assert positions(settings, 8)[0] not in ledger

    assert await remembered(settings) == [OffsetSet([(0, 3), (5, 6), (9, 10)]), OffsetSet([(7, 8)])]


async def test_two_replays_at_the_same_time_keep_each_others_notes(settings: Settings) -> None:
    async with open_ledger(settings, held(settings)) as one, open_ledger(settings, held(settings)) as other:
        await one.note(positions(settings, 0, 2))
        await other.note(positions(settings, 1, 5))
        assert positions(settings, 2)[0] in other
        await one.note(positions(settings, 7))

    assert (await remembered(settings))[0] == OffsetSet([(0, 3), (5, 6), (7, 8)])


async def test_a_replay_keeps_the_notes_of_one_that_saw_more_letters(settings: Settings) -> None:
    async with open_ledger(settings, held(settings, end=5)) as early:
        async with open_ledger(settings, held(settings)) as late:
            await late.note(positions(settings, *range(8)))
        await early.note(positions(settings, 1))

    assert (await remembered(settings))[0] == OffsetSet([(0, 8)])


async def test_what_kafka_has_deleted_counts_as_done(settings: Settings) -> None:
    async with open_ledger(settings, held(settings, first=4)) as ledger:
        await ledger.note(positions(settings, 4, 5, 9))

    assert (await remembered(settings, first=4))[0] == OffsetSet([(4, 6), (9, 10)])
    assert (await remembered(settings, first=8))[0] == OffsetSet([(9, 10)])


async def test_a_topic_that_was_made_anew_has_nothing_replayed(settings: Settings) -> None:
    async with open_ledger(settings, held(settings)) as ledger:
        await ledger.note(positions(settings, 0, 1, 2, 3))

    assert (await remembered(settings, end=3))[0] == OffsetSet()


async def test_what_is_too_scattered_is_refused_before_anything_is_sent(settings: Settings) -> None:
    scattered = random.Random(1).sample(range(1, 20_000), k=8_000)
    async with open_ledger(settings, held(settings)) as ledger:
        with pytest.raises(BrokerError, match="too scattered to be remembered: send 0:0 and those behind it"):
            ledger.check_room(positions(settings, *scattered))
        ledger.check_room(positions(settings, *range(1, 20_000, 2)))


@pytest.mark.parametrize("metadata", ["by hand", base64.b85encode(zlib.compress(b"1-2")).decode()])
async def test_offsets_of_someone_else_are_named(settings: Settings, metadata: str) -> None:
    await commit(settings, 3, metadata)
    with pytest.raises(BrokerError, match=f"{ledger_group(settings)} were not written by streamapp"):
        await remembered(settings)
