"""What the topics hold: events that are done, their outcomes, and the records that Connect is to load."""

import math
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from streamapp.dead_letters.letter import read_dead_letter
from streamapp.group_offsets import committed_offsets
from streamapp.offset_set import OffsetSet
from streamapp.reading import (
    EVER,
    OffsetRange,
    Period,
    Ranges,
    open_reader,
    ranges_in,
    read_ranges,
)
from streamapp.records import ANY_JSON, decoded, leaves_a_record
from streamapp.settings import Settings


def offset_sets() -> dict[int, OffsetSet]:
    """Partition → offsets, to be filled."""
    return defaultdict(OffsetSet)


@dataclass(slots=True)
class Events:
    """The events of the period whose outcome must be there, because the workers have committed past them.

    Attributes:
        committed: partition → the offset that the group has committed; 0 where it has none.
        uncommitted: offsets after it.
        with_picture: they leave a row or a dead letter.
        removed: partition → how many say that the picture was removed: they leave nothing.
        aged: those of `with_picture` whose outcome retention may have deleted.
    """

    committed: dict[int, int] = field(default_factory=dict)
    uncommitted: int = 0
    with_picture: dict[int, OffsetSet] = field(default_factory=offset_sets)
    removed: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    aged: dict[int, OffsetSet] = field(default_factory=offset_sets)


@dataclass(slots=True)
class Results:
    """The records of the results topic.

    Attributes:
        ranges: partition → what was looked at.
        records: by their own offsets; so are `rows`, those that are a row.
        sources: the source events of the rows, by the partitions of the events topic.
        repeats: rows of an event that has another one before them.
        without_source: rows of no known event: the old deployment's, or of other topics.
    """

    ranges: dict[int, OffsetRange] = field(default_factory=dict)
    records: dict[int, OffsetSet] = field(default_factory=offset_sets)
    rows: dict[int, OffsetSet] = field(default_factory=offset_sets)
    sources: dict[int, OffsetSet] = field(default_factory=offset_sets)
    repeats: int = 0
    without_source: int = 0


@dataclass(slots=True)
class Published:
    """Everything that the topics say; `dead_letters` are source events, as `Results.sources`."""

    events: Events = field(default_factory=Events)
    results: Results = field(default_factory=Results)
    dead_letters: dict[int, OffsetSet] = field(default_factory=offset_sets)


async def read_published(settings: Settings, period: Period = EVER) -> Published:
    """Read the three topics as they are now.

    1. Ask for the committed offsets, then how far the topics go: outcomes that the commits rest on lie below.
    2. Read the outcomes. 3. Read the events that are committed, record by record: offsets have gaps, and
    only its value says whether an event leaves a record.

    Args:
        period: events and outcomes of other times are left out.

    Raises:
        BrokerError: the broker can't be reached, lacks a topic, or stopped answering.
    """
    published = Published()
    names = [settings.events_topic, settings.results_topic, settings.dead_letter_topic]
    async with open_reader(settings, names) as consumer:
        places = consumer.assignment()
        sources = [place for place in places if place.topic == settings.events_topic]
        # 1.
        committed = await committed_to(settings, settings.group, sources)
        held = await ranges_in(consumer, places, settings)
        ranges = await ranges_in(consumer, places, settings, period)
        # 2.
        outcomes = {place: one for place, one in ranges.items() if place.topic != settings.events_topic}
        oldest_ms = await _read_outcomes(consumer, outcomes, published, settings)
        since_ms = _complete_since_ms(held, outcomes, oldest_ms)
        # 3.
        await _read_events(
            consumer,
            {place: ranges[place] for place in sources},
            committed,
            period,
            since_ms,
            published,
            settings,
        )
    return published


async def committed_to(
    settings: Settings, group: str, places: Collection[TopicPartition]
) -> dict[TopicPartition, int]:
    """The group's committed offsets; 0 where it has none.

    Raises:
        BrokerError: the broker does not answer.
    """
    found = await committed_offsets(settings, group, places)
    return {place: max(0, one.offset) for place, one in found.items()}


async def _read_outcomes(
    consumer: AIOKafkaConsumer, ranges: Ranges, published: Published, settings: Settings
) -> dict[TopicPartition, int]:
    """Note rows and dead letters; of each partition the time of its oldest record, in ms."""
    results = published.results
    results.ranges = {
        place.partition: one for place, one in ranges.items() if place.topic == settings.results_topic
    }
    oldest_ms: dict[TopicPartition, int] = {}
    async for records in read_ranges(consumer, ranges, settings):
        for record in records:
            oldest_ms.setdefault(TopicPartition(record.topic, record.partition), record.timestamp)
            if record.topic == settings.results_topic:
                _note_result(record, settings.events_topic, results)
                continue
            letter = read_dead_letter(record)
            if letter is not None and letter.source.topic == settings.events_topic:
                published.dead_letters[letter.source.partition].add(letter.source.offset)
    return oldest_ms


def _note_result(record: ConsumerRecord, events_topic: str, results: Results) -> None:
    results.records[record.partition].add(record.offset)
    attributes = row_attributes(record.value)
    if attributes is None:
        return
    results.rows[record.partition].add(record.offset)
    match attributes:
        case {
            "PROVENANCE": {"source": {"topic": topic, "partition": int(number), "offset": int(offset)}}
        } if topic == events_topic:
            if offset in results.sources[number]:
                results.repeats += 1
            results.sources[number].add(offset)
        case _:
            results.without_source += 1


def row_attributes(value: bytes | None) -> dict[str, Any] | None:
    """A row's MODEL_ATTRIBUTES; None where the value is no row, as 1-landing.sql's why_not_row says."""
    try:
        row = decoded(ANY_JSON, value or b"")
    except msgspec.DecodeError:
        return None
    if not isinstance(row, dict) or None in (row.get("UID"), row.get("MESSAGE_RECEIVE_TIME")):
        return None
    attributes = row.get("MODEL_ATTRIBUTES")
    return attributes if isinstance(attributes, dict) else None


def _complete_since_ms(held: Ranges, ranges: Ranges, oldest_ms: dict[TopicPartition, int]) -> float:
    """Since when no outcome can be missing by retention, ms: an outcome is later than its event."""
    cut = [place for place, one in ranges.items() if 0 < one.first == held[place].first]
    return max((oldest_ms.get(place, math.inf) for place in cut), default=0)


async def _read_events(
    consumer: AIOKafkaConsumer,
    ranges: Ranges,
    committed: dict[TopicPartition, int],
    period: Period,
    complete_since_ms: float,
    published: Published,
    settings: Settings,
) -> None:
    events = published.events
    done: Ranges = {}
    for place, one in ranges.items():
        events.committed[place.partition] = committed[place]
        done[place] = OffsetRange(one.first, min(one.end, committed[place]))
        events.uncommitted += max(0, one.end - max(one.first, committed[place]))
    async for records in read_ranges(consumer, done, settings):
        for record in records:
            if not period.covers(record):
                continue
            if not leaves_a_record(record.value):
                events.removed[record.partition] += 1
                continue
            events.with_picture[record.partition].add(record.offset)
            if record.timestamp < complete_since_ms:
                events.aged[record.partition].add(record.offset)
