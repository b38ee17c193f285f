"""The events topic as a backfill reads it, on real brokers: ranges, times, retention, committed plans."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from streamapp.backfill.plan import Plan, new_plan
from streamapp.backfill.planning import Request, find_plan, group_of
from streamapp.backfill.ranges import Asked, TimeSpan
from streamapp.backfill.source import Source, open_source
from streamapp.errors import BrokerError
from streamapp.kafka import client_options
from streamapp.local.kafka.broker import KafkaBroker
from streamapp.offsets import PartitionOffsets
from streamapp.reading import OffsetRange
from streamapp.settings import Settings, load_settings
from streamapp.topics import ensure_topics

TIMEOUT_S = 60
START = datetime(2026, 11, 20, 12, tzinfo=UTC)
PARTITIONS = 3
EVENTS = 10


@pytest.fixture
async def settings(kafka_variables: dict[str, str]) -> Settings:
    """The embedded broker with 10 events in each of three partitions."""
    return await filled(load_settings(kafka_variables, topic_partitions=PARTITIONS))


@pytest.fixture
async def kafka(kafka_variables: dict[str, str], kafka_broker: KafkaBroker) -> Settings:
    """The same on Apache Kafka; partition 0 has an event a minute, 1 one an hour, 2 none."""
    brokers = kafka_broker.bootstrap_servers
    settings = load_settings(kafka_variables, brokers=brokers, topic_partitions=PARTITIONS)
    return await filled(settings, {0: timedelta(minutes=1), 1: timedelta(hours=1)})


async def filled(settings: Settings, apart: dict[int, timedelta] | None = None) -> Settings:
    """Send the events; `apart` is the time between two of a partition."""
    await ensure_topics(settings)
    apart = dict.fromkeys(range(PARTITIONS), timedelta(minutes=1)) if apart is None else apart
    async with AIOKafkaProducer(**client_options(settings)) as producer:
        for partition, step in apart.items():
            for number in range(EVENTS):
                at_ms = int((START + number * step).timestamp() * 1000)
                await producer.send_and_wait(
                    settings.events_topic, b"%d" % number, partition=partition, timestamp_ms=at_ms
                )
    return settings


@asynccontextmanager
async def source_of(settings: Settings, run: str | None = None) -> AsyncIterator[Source]:
    group = group_of(settings.group, run or uuid.uuid4().hex)
    async with asyncio.timeout(TIMEOUT_S), open_source(settings, group) as source:
        yield source


async def delete_before(settings: Settings, partition: int, offset: int) -> None:
    """What retention does."""
    admin = AIOKafkaAdminClient(**client_options(settings))
    await admin.start()
    try:
        place = TopicPartition(settings.events_topic, partition)
        await admin.delete_records({place: RecordsToDelete(before_offset=offset)})
    finally:
        await admin.close()


async def read(source: Source, ranges: dict[int, OffsetRange]) -> list[tuple[int, int]]:
    found = []
    async with aclosing(source.records(ranges)) as batches:
        async for records in batches:
            found += [(record.partition, record.offset) for record in records]
    return found


def in_range(ranges: dict[int, OffsetRange]) -> list[tuple[int, int]]:
    return [(number, at) for number, whole in ranges.items() for at in range(whole.first, whole.end)]


async def test_exactly_the_events_of_the_ranges_are_read_each_partition_in_order(settings: Settings) -> None:
    ranges = {0: OffsetRange(3, 7), 2: OffsetRange(9, 10)}
    async with source_of(settings) as source:
        found = await read(source, ranges)

    assert sorted(found) == in_range(ranges)
    assert [place for place in found if place[0] == 0] == [(0, at) for at in range(3, 7)]


async def test_more_records_than_one_poll_gives_are_all_read(settings: Settings) -> None:
    async with AIOKafkaProducer(**client_options(settings)) as producer:
        sent = [await producer.send(settings.events_topic, b"{}", partition=1) for _ in range(1200)]
        await asyncio.gather(*sent)
    ranges = {0: OffsetRange(0, 10), 1: OffsetRange(0, 1210)}
    async with source_of(settings) as source:
        assert sorted(await read(source, ranges)) == in_range(ranges)


async def test_a_plan_is_kept_by_the_broker_and_found_by_the_runs_id_alone(kafka: Settings) -> None:
    asked = (PartitionOffsets(0, 2, 8), PartitionOffsets(1, 0, None))
    request = Request("a-run", asked, "elsewhere", ("timeout",))
    async with source_of(kafka, "a-run") as source:
        plan = await find_plan(source, request, "results")
        await source.commit(plan.done, plan)
        assert await source.keeps(plan)
        await source.commit({0: 5}, plan)
        for again in (request, Request("a-run", None), Request("a-run", None, "elsewhere")):
            found = await find_plan(source, again, "results")
            assert (found.results_topic, found.only_reasons) == ("elsewhere", ("timeout",))
            assert found.left == {0: OffsetRange(5, 9), 1: OffsetRange(0, 10)}


@pytest.mark.parametrize(
    "other",
    [
        Request("a-run", (PartitionOffsets(0, 2, 9),)),
        Request("a-run", (PartitionOffsets(0, 2, 8),), "elsewhere"),
        Request("a-run", (PartitionOffsets(0, 2, 8),), None, ("timeout",)),
        Request("a-run", None, "elsewhere"),
        Request("a-run", None, None, ("timeout",)),
        Request("a-run", TimeSpan(START)),
    ],
)
async def test_a_run_never_goes_on_as_another_one(kafka: Settings, other: Request) -> None:
    async with source_of(kafka, "a-run") as source:
        plan = await find_plan(source, Request("a-run", (PartitionOffsets(0, 2, 8),)), "results")
        await source.commit(plan.done, plan)
        with pytest.raises(BrokerError, match="The run 'a-run' was begun with another range"):
            await find_plan(source, other, "results")


async def test_a_run_that_nobody_began_needs_a_range(kafka: Settings) -> None:
    async with source_of(kafka, "a-run") as source:
        with pytest.raises(BrokerError, match=r"knows no run 'a-run'.*Give --from or --offsets"):
            await find_plan(source, Request("a-run", None), "results")


async def test_a_missing_topic_is_named(kafka_settings: Settings) -> None:
    with pytest.raises(BrokerError, match=f"no topic {kafka_settings.events_topic}: `streamapp topics`"):
        async with open_source(kafka_settings, "group"):
            pass


async def test_a_broker_that_keeps_no_notes_is_told(settings: Settings) -> None:
    async with source_of(settings, "a-run") as source:
        plan = await plan_of(source, (PartitionOffsets(0, 2, 8),))
        assert not await source.keeps(plan)
        with pytest.raises(BrokerError, match="the broker keeps no metadata of offsets, as the embedded one"):
            await find_plan(source, Request("a-run", None), "results")


@pytest.mark.parametrize(
    ("start_min", "end_min", "expected"),
    [
        (0, None, {0: (0, 10), 1: (0, 10)}),
        (3, 7, {0: (3, 7)}),
        (3.5, 7.5, {0: (4, 8)}),
        (-60, 61, {0: (0, 10), 1: (0, 2)}),
        (60, 180, {1: (1, 3)}),
    ],
)
async def test_a_span_of_time_is_found_by_the_timestamps_of_kafka(
    kafka: Settings, start_min: float, end_min: float | None, expected: dict[int, tuple[int, int]]
) -> None:
    end = None if end_min is None else START + timedelta(minutes=end_min)
    span = TimeSpan(START + timedelta(minutes=start_min), end)
    async with source_of(kafka) as source:
        plan = await find_plan(source, Request("a-run", span), "results")

        assert plan.ranges == {number: OffsetRange(*offsets) for number, offsets in expected.items()}
        assert sorted(await read(source, dict(plan.ranges))) == in_range(dict(plan.ranges))


@pytest.mark.parametrize(
    "span",
    [
        TimeSpan(START + timedelta(days=1)),
        TimeSpan(START - timedelta(days=1), START),
        TimeSpan(START + timedelta(minutes=10), START + timedelta(minutes=50)),
    ],
)
async def test_a_span_without_events_is_refused(kafka: Settings, span: TimeSpan) -> None:
    async with source_of(kafka) as source:
        with pytest.raises(
            BrokerError, match=r"holds no events from 2026-11-.*times are those of its records"
        ):
            await source.find(span)


async def test_offsets_that_retention_deleted_are_refused_and_for_a_span_told(
    kafka: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    await delete_before(kafka, 0, 4)
    async with source_of(kafka) as source:
        with pytest.raises(
            BrokerError, match=r"\[0\] holds the offsets 4 to 9: those from 0 on were deleted"
        ):
            await source.find((PartitionOffsets(0, 0, 9),))
        assert (await source.find(TimeSpan(START)))[0] == OffsetRange(4, 10)
    assert "holds nothing older than this in partition 0:" in caplog.text


async def plan_of(source: Source, asked: Asked) -> Plan:
    plan = new_plan("a-run", "results", (), asked, await source.find(asked))
    await source.commit(plan.done, plan)
    return plan


async def test_events_that_are_deleted_before_a_run_goes_on_are_left_out_and_told(
    kafka: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    async with source_of(kafka, "a-run") as source:
        await plan_of(source, (PartitionOffsets(0, 0, 9), PartitionOffsets(1, 0, 4)))
        await delete_before(kafka, 0, 4)
        plan = await find_plan(source, Request("a-run", None), "results")

    assert plan.left == {0: OffsetRange(4, 10), 1: OffsetRange(0, 5)}
    assert "Retention has deleted 4 of the 15 offsets" in caplog.text


async def test_events_that_are_deleted_while_a_run_reads_end_it(kafka: Settings) -> None:
    async with source_of(kafka, "a-run") as source:
        plan = await plan_of(source, (PartitionOffsets(0, 0, 9),))
        await delete_before(kafka, 0, 4)
        with pytest.raises(BrokerError, match=r"Retention has deleted events of .* before they were read"):
            await read(source, plan.left)


async def test_gaps_that_transactions_leave_end_no_later_than_the_range(kafka: Settings) -> None:
    name = uuid.uuid4().hex
    async with (
        AIOKafkaProducer(transactional_id=name, **client_options(kafka)) as producer,
        producer.transaction(),
    ):
        await producer.send_and_wait(kafka.events_topic, b"{}", partition=2)
    # The event is offset 0, the marker of its transaction offset 1.
    async with source_of(kafka) as source:
        while (await source.held())[2].end < 2:  # the marker comes a moment after the commit's answer
            await asyncio.sleep(0.02)
        ranges = await source.find((PartitionOffsets(2, 0, None),))
        assert ranges == {2: OffsetRange(0, 2)}
        assert await read(source, ranges) == [(2, 0)]
