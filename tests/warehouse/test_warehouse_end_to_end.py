"""5,000 events on their whole way into the warehouse, with what goes wrong on it.

A real worker with the chaos suite's stand-in model, Apache Kafka, Kafka Connect and PostgreSQL: the story is
played once, and each test looks at how it ended.
"""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import msgspec
import pytest
import pytest_asyncio
from cli.command_process import Command, Ended
from warehouse.postgres_cluster import PostgresCluster
from warehouse.warehouse_leg import PARTITIONS, POLL_S, Leg, open_leg

from streamapp.local.kafka.broker import KafkaBroker
from streamapp.offset_set import OffsetSet
from streamapp.records import read_row
from streamapp.warehouse.offsets import told
from streamapp.warehouse.sink import read_refused

# One loop for the module: the parts stay from test to test.
pytestmark = pytest.mark.asyncio(loop_scope="module")

EVENTS = 5000
REPLAYED_A_PARTITION = 60
JUNK: tuple[bytes | None, ...] = (b"not json", b"a\x00b", b'{"UID": "\xff"}', None, b"", b"[]")


@pytest.fixture(scope="module")
def own_broker(kafka_program: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    """A broker of its own: Connect's topics have fixed names, and another test's workers would join."""
    with KafkaBroker(tmp_path_factory.mktemp("kafka")) as broker:
        yield broker


@dataclass
class Story:
    """How it went.

    Attributes:
        replayed: partition and offset of the events that were done twice.
        junk: partition and offset of the records that are no rows.
        landed_at_kill: how many records had landed when Connect was killed.
    """

    leg: Leg
    replayed: set[tuple[int, int]]
    junk: list[tuple[int, int]]
    landed_at_kill: int

    async def check(self, *arguments: str) -> Ended:
        """`streamapp warehouse check`."""
        return await Command("warehouse", self.leg.folder, self.leg.variables).run("check", *arguments)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def story(
    own_broker: KafkaBroker, postgres_cluster: PostgresCluster, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Story]:
    """1. Send. 2. PostgreSQL goes away and comes back. 3. Others write into the results topic. 4. Connect is
    killed half-way, and started again. 5. The workers do a part of the events once more."""
    async with open_leg(own_broker, postgres_cluster, tmp_path_factory.mktemp("leg")) as leg:
        # 1.
        sending = asyncio.create_task(leg.send(EVENTS))
        # 2.
        await leg.until_landed(EVENTS // 10)
        await asyncio.to_thread(postgres_cluster.end_server)
        await asyncio.sleep(1)
        await asyncio.to_thread(postgres_cluster.start_server)
        before = leg.landed()
        while leg.landed() == before:
            await leg.restart_failed()
            await asyncio.sleep(0.5)
        # 3.
        junk = await leg.publish(*JUNK, partition=1)
        # 4.
        await leg.until_landed(EVENTS // 3)
        landed_at_kill = leg.landed()
        await asyncio.to_thread(leg.connect.kill)
        restarting = asyncio.create_task(asyncio.to_thread(leg.connect.start))
        await sending
        # 5.
        await leg.until_committed()
        for worker in list(leg.fleet.alive):
            assert await leg.fleet.stop(worker) == 0
        replayed = await leg.rewind(REPLAYED_A_PARTITION)
        leg.fleet.start()
        await leg.fleet.until_assigned()
        await leg.until_committed()
        await restarting
        yield Story(leg, replayed, junk, landed_at_kill)


async def test_nothing_is_missing(story: Story) -> None:
    done = await story.check("--wait", "120")

    assert (done.exit_code, done.errors) == (0, ""), done.output
    assert "✓ Everything that must be in the warehouse is there." in done.output
    assert story.landed_at_kill < len(await story.leg.results()), "Connect was to be killed half-way."


async def test_the_landing_table_has_every_record_byte_for_byte(story: Story) -> None:
    rows = story.leg.query("select __connect_partition, __connect_offset, doc from landing")

    assert {(number, offset): doc for number, offset, doc in rows} == await story.leg.results()


async def test_each_source_event_is_there_exactly_once(story: Story) -> None:
    sql = "select source_partition, source_offset from moderation_events"
    counts = Counter(story.leg.query(sql))

    assert set(counts) == story.leg.with_row
    assert set(counts.values()) == {1}


async def test_repeats_are_in_the_table_and_the_latest_row_counts(story: Story) -> None:
    rows = Counter[tuple[int, int]]()
    latest: dict[tuple[int, int], str] = {}
    for value in (await story.leg.results()).values():
        try:
            row = read_row(value or b"")
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        source = row.MODEL_ATTRIBUTES.PROVENANCE["source"]
        place = source["partition"], source["offset"]
        rows[place] += 1
        latest[place] = max(latest.get(place, ""), row.MESSAGE_RECEIVE_TIME)
    found = story.leg.query(
        "select source_partition, source_offset, model_attributes #>> '{PROVENANCE,source,offset}',"
        " to_char(message_receive_time at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.US+00:00')"
        " from moderation_events"
    )

    repeats = rows.total() - len(rows)
    assert repeats >= len(story.replayed & story.leg.with_row) > 100
    assert {(number, offset): time for number, offset, _, time in found} == latest
    assert story.leg.query("select sum(row_count) - count(*) from duplicate_rows") == [(repeats,)]


async def test_what_is_no_row_shows_up_in_not_rows(story: Story) -> None:
    sql = "select result_partition, result_offset, problem from not_rows order by 2"
    problems = ["not JSON", "not JSON", "not JSON", "tombstone: no value", "not JSON", "JSON, and no object"]

    assert story.leg.query(sql) == [
        (*place, problem) for place, problem in zip(story.junk, problems, strict=True)
    ]


async def test_rows_that_are_taken_away_are_named(story: Story) -> None:
    topic = story.leg.settings.results_topic
    gone = "__connect_partition = 2 and __connect_offset between 101 and 103"
    with_them = story.leg.query(f"delete from landing where {gone} returning doc")
    try:
        done = await story.check("--wait", "0")
    finally:
        for offset, (doc,) in enumerate(with_them, 101):
            story.leg.land(2, offset, doc)

    assert done.exit_code == 1
    text = re.sub(r"\s+", " ", done.output)
    assert f"3 records ({topic}[2]@101-103) not landed, and Connect has passed them" in text
    assert text.count("✗") == 1, text
    assert (await story.check("--wait", "0")).exit_code == 0


async def test_a_postgres_that_restarts_while_nothing_comes_needs_no_hand(story: Story) -> None:
    # All connections of the sink's pool are dead then, and say so with an error that it does not try again.
    cluster = story.leg.cluster
    before = story.leg.landed()
    await asyncio.to_thread(cluster.end_server, "fast")
    await asyncio.to_thread(cluster.start_server)
    for partition in range(PARTITIONS):
        await story.leg.publish(b"no row", partition=partition)
    await story.leg.until(lambda: story.leg.landed() == before + PARTITIONS, "all landed", timeout_s=30)


async def test_a_record_that_connect_refuses_goes_to_its_dead_letters_and_is_named(story: Story) -> None:
    # The file's converters refuse nothing. Should somebody put another one there, the sink goes on as well.
    settings = story.leg.settings
    await story.leg.apply(**{"value.converter": "org.apache.kafka.connect.json.JsonConverter"})
    refused: dict[int, OffsetSet] = {}
    async with asyncio.timeout(60):
        while not refused:  # until then the tasks of before load it
            await story.leg.publish(b"not json either", partition=3)
            refused = await read_refused(settings)
    await story.leg.apply()
    before = story.leg.landed()
    async with asyncio.timeout(60):
        while story.leg.landed() == before:
            await story.leg.publish(b"no row", partition=3)
            await asyncio.sleep(POLL_S)
    done = await story.check("--wait", "60")

    refused = await read_refused(settings)
    assert done.exit_code == 1
    text = re.sub(r"\s+", " ", done.output)
    named = told(settings.results_topic, refused, most=10)
    assert f"({named}) refused by Connect: {settings.results_topic}.postgres-errors has them." in text
    assert text.count("✗") == 1
