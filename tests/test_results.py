"""Reading rows back from the embedded broker."""

import asyncio

import msgspec
import pytest
from kafka_records import publish, row_of

from streamapp import results as results_module
from streamapp.errors import BrokerError
from streamapp.local.broker import EmbeddedBroker
from streamapp.records import ResultRow
from streamapp.results import ResultsReader, open_results
from streamapp.settings import Settings
from streamapp.topics import ensure_topics

TIMEOUT_S = 30


@pytest.fixture
async def settings(kafka_settings: Settings) -> Settings:
    """The embedded broker, with its topics."""
    await ensure_topics(kafka_settings)
    return kafka_settings


async def publish_rows(settings: Settings, *rows: ResultRow) -> None:
    await publish(settings, settings.results_topic, *(row.to_json() for row in rows))


async def latest(settings: Settings, count: int | None) -> list[str]:
    async with asyncio.timeout(TIMEOUT_S), open_results(settings) as reader:
        return [published.row.UID for published in await reader.latest(count)]


@pytest.mark.parametrize(
    ("count", "uids"), [(None, list("abcdef")), (100, list("abcdef")), (2, list("ef")), (0, [])]
)
async def test_the_newest_rows_of_all_partitions_come_oldest_first(
    settings: Settings, count: int | None, uids: list[str]
) -> None:
    # Published in another order than received, as models and downloads have it.
    await publish_rows(settings, *(row_of(uid, second="abcdef".index(uid)) for uid in "badcfe"))

    assert await latest(settings, count) == uids


async def test_an_empty_topic_has_no_rows(settings: Settings) -> None:
    assert await latest(settings, None) == []


async def test_records_that_are_no_rows_are_passed_over(settings: Settings) -> None:
    values = [b"no row", None, b"\xff", b"{}", row_of("a").to_json()]
    await publish(settings, settings.results_topic, *values)

    assert await latest(settings, None) == ["a"]


async def test_a_row_comes_with_the_bytes_that_are_on_the_topic(settings: Settings) -> None:
    newer = msgspec.json.encode(msgspec.to_builtins(row_of("a")) | {"A_KEY_OF_LATER": 1})
    await publish(settings, settings.results_topic, newer)

    async with asyncio.timeout(TIMEOUT_S), open_results(settings) as reader:
        assert [published.value for published in await reader.latest(None)] == [newer]


async def test_following_begins_behind_what_was_read(settings: Settings) -> None:
    await publish_rows(settings, row_of("before"))
    async with asyncio.timeout(TIMEOUT_S), open_results(settings) as reader:
        assert [published.row.UID for published in await reader.latest(None)] == ["before"]
        await publish_rows(settings, row_of("after"))
        async for published in reader.follow():
            assert published.row.UID == "after"
            break


async def test_a_topic_that_is_missing_is_named_with_what_creates_it(kafka_settings: Settings) -> None:
    with pytest.raises(BrokerError, match=f"no topic {kafka_settings.results_topic}: `streamapp topics`"):
        async with open_results(kafka_settings):
            pass


async def test_an_error_of_the_reader_of_rows_is_not_the_brokers(settings: Settings) -> None:
    with pytest.raises(BrokenPipeError):
        async with open_results(settings) as reader:
            await reader.latest(None)
            raise BrokenPipeError


async def test_a_broker_that_stops_answering_is_not_waited_for_without_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(results_module, "STALLED_AFTER_S", 0.0)
    with EmbeddedBroker() as broker:
        settings = Settings(brokers=broker.bootstrap_servers)
        await ensure_topics(settings)
        async with asyncio.timeout(TIMEOUT_S), open_results(settings) as reader:
            await publish_rows(settings, row_of("a"))
            ends = await reader._consumer.end_offsets(reader._partitions)
            beyond = {partition: end + 1 for partition, end in ends.items()}
            for partition in reader._partitions:
                reader._consumer.seek(partition, 0)
            with pytest.raises(BrokerError, match="sent nothing for"):
                await ResultsReader._read_to(reader, beyond)
