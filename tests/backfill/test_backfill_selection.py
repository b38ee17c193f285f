"""Which events are chosen by their latest rows."""

import asyncio

import msgspec
from kafka_records import publish, row_of

from streamapp.backfill.selection import Selection, select
from streamapp.reading import OffsetRange
from streamapp.records import ResultRow
from streamapp.settings import Settings
from streamapp.topics import ensure_topics

TIMEOUT_S = 30
RANGES = {0: OffsetRange(10, 20), 2: OffsetRange(0, 5)}


def row(partition: int, offset: int, reason: str | None, topic: str = "events") -> bytes:
    made: ResultRow = row_of("7")
    source = {"topic": topic, "partition": partition, "offset": offset}
    provenance = made.MODEL_ATTRIBUTES.PROVENANCE | {"source": source, "reason": reason}
    attributes = msgspec.structs.replace(made.MODEL_ATTRIBUTES, PROVENANCE=provenance)
    return msgspec.structs.replace(made, MODEL_ATTRIBUTES=attributes).to_json()


def chosen(selection: Selection) -> list[tuple[int, int]]:
    every = [(number, at) for number, whole in RANGES.items() for at in range(whole.first, whole.end)]
    return [(number, at) for number, at in every if selection.has(number, at)]


def test_events_are_chosen_by_the_reason_of_their_row() -> None:
    selection = Selection("events", RANGES, ["timeout", "circuit_open"])
    for value in (
        row(0, 10, "timeout"),
        row(0, 11, "not_found"),
        row(0, 12, None),
        row(2, 4, "circuit_open"),
    ):
        selection.note(value)

    assert chosen(selection) == [(0, 10), (2, 4)]
    assert [selection.count(number) for number in RANGES] == [1, 1]


def test_of_an_events_rows_the_last_one_counts() -> None:
    selection = Selection("events", RANGES, ["timeout"])
    for reason_of_10, reason_of_11 in ((None, "timeout"), ("timeout", None)):
        selection.note(row(0, 10, reason_of_10))
        selection.note(row(0, 11, reason_of_11))

    assert chosen(selection) == [(0, 10)]


def test_rows_of_other_events_and_what_is_no_row_choose_nothing() -> None:
    selection = Selection("events", RANGES, ["timeout"])
    for value in (
        *(
            row(0, 9, "timeout"),
            row(0, 20, "timeout"),
            row(1, 10, "timeout"),
            row(0, 10, "timeout", "others"),
        ),
        *(None, b"", b"{}", b"\xff", b'{"a":' + b"[" * 100_000, row_of("7").to_json()),
    ):
        selection.note(value)

    assert chosen(selection) == []


async def test_the_whole_results_topic_is_read(kafka_settings: Settings) -> None:
    await ensure_topics(kafka_settings)
    topic = kafka_settings.events_topic
    rows = [row(0, at, "timeout" if at % 2 else None, topic) for at in range(10, 20)]
    await publish(kafka_settings, kafka_settings.results_topic, *rows)
    told: list[tuple[int, int]] = []

    async with asyncio.timeout(TIMEOUT_S):
        selection = await select(kafka_settings, RANGES, ["timeout"], lambda *at: told.append(at))

    assert chosen(selection) == [(0, at) for at in range(11, 20, 2)]
    assert told[-1] == (10, 10)


async def test_an_empty_results_topic_chooses_nothing(kafka_settings: Settings) -> None:
    await ensure_topics(kafka_settings)
    async with asyncio.timeout(TIMEOUT_S):
        assert chosen(await select(kafka_settings, RANGES, ["timeout"])) == []
