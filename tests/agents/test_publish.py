"""The publisher on the embedded broker: what it says is out can be read back."""

import pytest
from kafka_records import records_of, row_of

from streamapp.agents.publish import MAX_RECORD_BYTES, Publisher
from streamapp.errors import DeadLetterReason
from streamapp.records import Headers, SourcePosition
from streamapp.settings import Settings
from streamapp.topics import ensure_topics

POSITION = SourcePosition("modify_user", 3, 41210)
WHY = {
    "streamapp.reason": b"not_json",
    "streamapp.message": b"The value is not JSON.",
    "streamapp.source.topic": b"modify_user",
    "streamapp.source.partition": b"3",
    "streamapp.source.offset": b"41210",
}


@pytest.fixture(autouse=True)
async def topics(kafka_settings: Settings) -> None:
    await ensure_topics(kafka_settings)


async def publish_dead_letter(
    settings: Settings, key: bytes | None, value: bytes | None, headers: Headers
) -> None:
    async with Publisher(settings) as publisher:
        reason, message = DeadLetterReason.NOT_JSON, "The value is not JSON."
        await publisher.publish_dead_letter(POSITION, key, value, headers, reason, message)


async def test_a_row_is_keyed_by_its_user(kafka_settings: Settings) -> None:
    rows = [row_of("37217839"), row_of("übung", USERNAME="emoji 🎉")]
    async with Publisher(kafka_settings) as publisher:
        assert [await publisher.publish_row(row) for row in rows] == [True, True]
    records = await records_of(kafka_settings, kafka_settings.results_topic, 2)

    found = {record.key: record.value for record in records}
    assert found == {row.UID.encode(): row.to_json() for row in rows}


async def test_a_row_that_is_too_large_is_told_and_the_next_one_goes_through(
    kafka_settings: Settings,
) -> None:
    async with Publisher(kafka_settings) as publisher:
        assert not await publisher.publish_row(row_of("1", USERNAME="x" * MAX_RECORD_BYTES))
        assert await publisher.publish_row(row_of("2"))
    (record,) = await records_of(kafka_settings, kafka_settings.results_topic, 1)

    assert record.key == b"2"


@pytest.mark.parametrize(
    ("key", "value"), [(b"k\xff", b"\xff{not json"), (None, b"{"), (b"k", None), (b"k", b"")]
)
async def test_a_dead_letter_is_the_record_as_it_came_with_the_reason_beside_it(
    kafka_settings: Settings, key: bytes | None, value: bytes | None
) -> None:
    own: Headers = [("trace", b"1"), ("trace", b"2")]
    await publish_dead_letter(kafka_settings, key, value, own)
    (record,) = await records_of(kafka_settings, kafka_settings.dead_letter_topic, 1)

    assert (record.key, record.value) == (key, value)
    assert list(record.headers[:2]) == own
    assert dict(record.headers[2:]) == WHY


async def test_a_record_without_key_and_value_has_a_dead_letter_all_the_same(
    kafka_settings: Settings,
) -> None:
    await publish_dead_letter(kafka_settings, None, None, [])
    (record,) = await records_of(kafka_settings, kafka_settings.dead_letter_topic, 1)

    assert (record.key, record.value) == (None, b"")
    assert dict(record.headers) == WHY | {"streamapp.value": b"null"}


@pytest.mark.parametrize(
    ("key", "value", "own"),
    [
        (b"k", b"x" * MAX_RECORD_BYTES, []),
        (b"x" * MAX_RECORD_BYTES, b"{", []),
        (b"k", b"{", [("trace", b"x" * MAX_RECORD_BYTES)]),
    ],
    ids=["value", "key", "headers"],
)
async def test_a_dead_letter_that_is_too_large_goes_without_what_makes_it_so(
    kafka_settings: Settings, key: bytes, value: bytes, own: Headers
) -> None:
    await publish_dead_letter(kafka_settings, key, value, own)
    (record,) = await records_of(kafka_settings, kafka_settings.dead_letter_topic, 1)

    assert (record.key, record.value) == (None, b"")
    assert dict(record.headers) == WHY | {"streamapp.value": b"left out: too large"}


async def test_a_publisher_that_is_not_open_is_a_bug(kafka_settings: Settings) -> None:
    with pytest.raises(RuntimeError, match="This is a bug"):
        await Publisher(kafka_settings).publish_row(row_of("1"))
