"""Reading rows back from the embedded broker."""

import asyncio
from datetime import timedelta

import msgspec
import pytest
from dead_letter_records import NOON, publish_record
from kafka_records import publish, row_of

from streamapp import results
from streamapp.errors import BrokerError
from streamapp.records import ResultRow
from streamapp.results import open_results
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
        if count is None:
            return [published.row.UID async for published in reader.every()]
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


async def test_of_many_rows_only_some_are_put_in_order_at_a_time(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "ORDERED_ROWS", 2)
    for uid, second in zip("cabd", (3, 1, 2, 4), strict=True):
        await publish_record(settings, settings.results_topic, row_of(uid, second=second).to_json())

    assert await latest(settings, None) == list("abcd")


@pytest.mark.parametrize("is_counted", [True, False])
async def test_rows_that_were_published_before_a_moment_are_left_out(
    settings: Settings, *, is_counted: bool
) -> None:
    for minute, uid in enumerate("abc"):
        at = NOON + timedelta(minutes=minute)
        await publish_record(settings, settings.results_topic, row_of(uid, second=minute).to_json(), at=at)
    since = NOON + timedelta(minutes=1)

    async with asyncio.timeout(TIMEOUT_S), open_results(settings) as reader:
        found = await reader.latest(9, since) if is_counted else [row async for row in reader.every(since)]
    assert [published.row.UID for published in found] == ["b", "c"]


async def test_an_empty_topic_has_no_rows(settings: Settings) -> None:
    assert await latest(settings, None) == []


async def test_records_that_are_no_rows_are_passed_over(settings: Settings) -> None:
    nested = b'{"a":' + b"[" * 100_000
    values = [b"no row", None, b"\xff", b"{}", nested, row_of("a").to_json()]
    await publish(settings, settings.results_topic, *values)

    assert await latest(settings, None) == ["a"]


async def test_a_row_comes_with_the_bytes_that_are_on_the_topic(settings: Settings) -> None:
    newer = msgspec.json.encode(msgspec.to_builtins(row_of("a")) | {"A_KEY_OF_LATER": 1})
    await publish(settings, settings.results_topic, newer)

    async with asyncio.timeout(TIMEOUT_S), open_results(settings) as reader:
        assert [published.value for published in await reader.latest(1)] == [newer]


async def test_following_begins_behind_what_was_read(settings: Settings) -> None:
    await publish_rows(settings, row_of("before"))
    async with asyncio.timeout(TIMEOUT_S), open_results(settings) as reader:
        assert [published.row.UID for published in await reader.latest(1)] == ["before"]
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
            await reader.latest(1)
            raise BrokenPipeError
