"""Reading topics without a consumer group, on the embedded broker."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaConnectionError
from dead_letter_records import NOON, publish_record

from streamapp import reading
from streamapp.errors import BrokerError
from streamapp.kafka import client_options
from streamapp.local.kafka.broker import KafkaBroker
from streamapp.reading import (
    EVER,
    OffsetRange,
    Period,
    Ranges,
    open_reader,
    ranges_in,
    read_errors,
    read_one,
    read_ranges,
    stop_consumer,
)
from streamapp.settings import Settings
from streamapp.topics import ensure_topics


async def test_every_partition_of_the_topics_is_read_and_no_other(kafka_settings: Settings) -> None:
    settings = kafka_settings.model_copy(update={"topic_partitions": 3})
    await ensure_topics(settings)
    async with open_reader(settings, [settings.results_topic, settings.dead_letter_topic]) as consumer:
        assert {(one.topic, one.partition) for one in consumer.assignment()} == {
            (topic, number)
            for topic in (settings.results_topic, settings.dead_letter_topic)
            for number in range(3)
        }


async def test_only_the_topics_that_are_read_must_be_there(kafka_settings: Settings) -> None:
    await ensure_topics(kafka_settings)
    settings = kafka_settings.model_copy(update={"dead_letter_topic": "never-created"})
    async with open_reader(settings, [settings.results_topic]):
        pass
    with pytest.raises(BrokerError, match="no topic never-created: `streamapp topics`"):
        async with open_reader(settings, [settings.results_topic, "never-created"]):
            pytest.fail("The reader opened.")


async def test_an_error_of_the_caller_is_not_the_brokers(kafka_settings: Settings) -> None:
    await ensure_topics(kafka_settings)
    with pytest.raises(BrokenPipeError):
        async with open_reader(kafka_settings, [kafka_settings.results_topic]):
            raise BrokenPipeError


@pytest.mark.parametrize("foreign", [KafkaConnectionError("gone"), TimeoutError()])
def test_an_error_of_kafka_is_ours_with_the_brokers_address(foreign: Exception) -> None:
    told = r"127\.0\.0\.1:9092 can't be read from"
    with pytest.raises(BrokerError, match=told) as caught, read_errors(Settings()):
        raise foreign
    assert caught.value.__cause__ is foreign


def test_a_header_whose_name_is_no_utf_8_is_told() -> None:
    with pytest.raises(BrokerError, match=r"a header whose name is no UTF-8 \(b'x-"), read_errors(Settings()):
        # As aiokafka's parser does, in the midst of a fetch.
        b"x-\xff".decode()


async def values_of(settings: Settings, ranges: Ranges | None = None, period: Period = EVER) -> list[bytes]:
    """What the dead-letter topic holds, of its first partition; all of it or some of it."""
    place = TopicPartition(settings.dead_letter_topic, 0)
    async with asyncio.timeout(30), open_reader(settings, [settings.dead_letter_topic]) as consumer:
        if ranges is None:
            ranges = await ranges_in(consumer, [place], settings, period)
        batches = [batch async for batch in read_ranges(consumer, ranges, settings)]
    return [record.value for batch in batches for record in batch if period.covers(record)]


async def publish_at(settings: Settings, *minutes: int) -> None:
    """A record for each minute after noon, in this order."""
    for minute in minutes:
        at = NOON + timedelta(minutes=minute)
        await publish_record(settings, settings.dead_letter_topic, b"%d" % minute, at=at)


async def test_a_range_ends_before_its_end_and_the_consumer_stands_there(kafka_settings: Settings) -> None:
    await ensure_topics(kafka_settings)
    await publish_at(kafka_settings, *range(6))
    place = TopicPartition(kafka_settings.dead_letter_topic, 0)

    assert await values_of(kafka_settings, {place: OffsetRange(1, 4)}) == [b"1", b"2", b"3"]
    async with asyncio.timeout(30), open_reader(kafka_settings, [place.topic]) as consumer:
        async for _ in read_ranges(consumer, {place: OffsetRange(0, 2)}, kafka_settings):
            pass
        assert (await consumer.getone(place)).offset == 2


async def test_one_record_is_read_by_its_offset(kafka_settings: Settings) -> None:
    await ensure_topics(kafka_settings)
    await publish_at(kafka_settings, *range(3))
    place = TopicPartition(kafka_settings.dead_letter_topic, 0)
    async with asyncio.timeout(30), open_reader(kafka_settings, [place.topic]) as consumer:
        found = [await read_one(consumer, place, offset, kafka_settings) for offset in (2, 0, 3, 10**9)]
        nowhere = TopicPartition(place.topic, 10**6)
        assert await read_one(consumer, nowhere, 0, kafka_settings) is None

    assert [record and record.value for record in found] == [b"2", b"0", None, None]


@pytest.mark.parametrize("broker", ["embedded_broker", "kafka_broker"])
async def test_the_last_batch_is_read_whole(
    broker: str, kafka_settings: Settings, request: pytest.FixtureRequest
) -> None:
    servers = request.getfixturevalue(broker).bootstrap_servers
    settings = kafka_settings.model_copy(update={"brokers": servers})
    await ensure_topics(settings)
    topic = settings.dead_letter_topic
    async with AIOKafkaProducer(linger_ms=100, **client_options(settings)) as producer:
        waiting = [await producer.send(topic, b"%d" % number, partition=0) for number in range(7)]
        await asyncio.gather(*waiting)

    assert await values_of(settings) == [b"%d" % number for number in range(7)]


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
async def test_records_that_their_producer_compressed_are_read(
    codec: str, kafka_broker: KafkaBroker, kafka_settings: Settings
) -> None:
    settings = kafka_settings.model_copy(update={"brokers": kafka_broker.bootstrap_servers})
    await ensure_topics(settings)
    async with AIOKafkaProducer(compression_type=codec, **client_options(settings)) as producer:
        await producer.send_and_wait(settings.dead_letter_topic, b"event " * 100, partition=0)

    assert await values_of(settings) == [b"event " * 100]


PERIODS = {
    "all": (None, None, [0, 10, 20, 15, 30]),
    "from a moment on": (10, None, [10, 20, 15, 30]),
    "from between two on": (11, None, [20, 15, 30]),
    "before a moment": (None, 20, [0, 10, 15]),
    "between two moments": (10, 30, [10, 20, 15]),
    "none": (16, 17, []),
    "later than all": (31, None, []),
    "before all": (None, 0, []),
}


async def test_a_period_has_its_records_also_where_they_are_out_of_order(
    kafka_broker: KafkaBroker, kafka_settings: Settings
) -> None:
    settings = kafka_settings.model_copy(update={"brokers": kafka_broker.bootstrap_servers})
    await ensure_topics(settings)
    await publish_at(settings, 0, 10, 20, 15, 30)

    for name, (since, until, expected) in PERIODS.items():
        moments = (None if one is None else NOON + timedelta(minutes=one) for one in (since, until))
        found = await values_of(settings, period=Period(*moments))
        assert found == [b"%d" % minute for minute in expected], name


async def test_the_embedded_broker_which_looks_for_its_own_times_leaves_nothing_out(
    kafka_settings: Settings,
) -> None:
    await ensure_topics(kafka_settings)
    await publish_at(kafka_settings, 0, 10, 20)
    tomorrow = datetime.now(UTC) + timedelta(days=1)

    assert await values_of(kafka_settings, period=Period(NOON + timedelta(minutes=10))) == [b"10", b"20"]
    assert await values_of(kafka_settings, period=Period(NOON, tomorrow)) == [b"0", b"10", b"20"]
    assert await values_of(kafka_settings, period=Period(tomorrow)) == []


async def test_kafka_looks_a_period_up_and_what_is_far_from_it_is_not_read(
    kafka_broker: KafkaBroker, kafka_settings: Settings
) -> None:
    settings = kafka_settings.model_copy(update={"brokers": kafka_broker.bootstrap_servers})
    await ensure_topics(settings)
    await publish_at(settings, 0, 10, 20, 100, 200)
    place = TopicPartition(settings.dead_letter_topic, 0)
    async with open_reader(settings, [place.topic]) as consumer:

        async def range_of(since: float, until: float) -> OffsetRange:
            period = Period(NOON + timedelta(minutes=since), NOON + timedelta(minutes=until))
            return (await ranges_in(consumer, [place], settings, period))[place]

        assert await range_of(10, 50) == OffsetRange(1, 3)
        assert await range_of(10.001, 90) == OffsetRange(2, 3)
        assert await range_of(10, 90.001) == OffsetRange(1, 4)
        assert (await range_of(201, 300)).is_empty


async def test_a_broker_that_stops_answering_is_not_waited_for_without_end(
    kafka_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "STALLED_AFTER_S", 0.0)
    await ensure_topics(kafka_settings)
    place = TopicPartition(kafka_settings.dead_letter_topic, 0)
    with pytest.raises(BrokerError, match="sent nothing for"):
        await values_of(kafka_settings, {place: OffsetRange(0, 1)})


class RetryingConsumer:
    """When stopped, awaits a fetch that it has cancelled, as aiokafka's does while its broker is away."""

    def __init__(self) -> None:
        self._client = self
        self.is_closed = False

    async def stop(self) -> None:
        fetch = asyncio.create_task(asyncio.sleep(3600))
        await asyncio.sleep(0)
        fetch.cancel()
        await fetch

    async def close(self) -> None:
        self.is_closed = True


async def test_the_error_of_a_broker_that_is_away_survives_the_end_of_the_consumer() -> None:
    consumer = RetryingConsumer()
    with pytest.raises(BrokerError, match="sent nothing"):
        try:
            raise BrokerError("The broker sent nothing for 30 s.")
        finally:
            await stop_consumer(consumer)

    assert consumer.is_closed


async def test_a_consumer_that_is_stopped_by_a_cancellation_lets_it_through() -> None:
    async def read() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            await stop_consumer(RetryingConsumer())

    reading = asyncio.create_task(read())
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
