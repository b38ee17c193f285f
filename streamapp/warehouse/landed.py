"""What the warehouse holds of the topics' records and events."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from streamapp.offset_set import OffsetSet
from streamapp.reading import OffsetRange
from streamapp.warehouse.offsets import gather

if TYPE_CHECKING:
    import psycopg

    from streamapp.warehouse.database import Row

# Consecutive offsets have the same difference to their number: a range for each run of them.
_LANDED = """
select min(__connect_offset), max(__connect_offset) + 1
from (
    select __connect_offset, __connect_offset - row_number() over (order by __connect_offset) as run
    from landing
    where __connect_topic = %s and __connect_partition = %s
        and __connect_offset >= %s and __connect_offset < %s
        and (row_doc is not null or not %s)
) as numbered
group by run order by 1
"""
_EVENTS = """
select min(source_offset), max(source_offset) + 1, sum(times)::bigint
from (
    select source_offset, count(*) as times, source_offset - row_number() over (order by source_offset) as run
    from moderation_events
    where source_topic = %s and source_partition = %s and source_offset >= %s and source_offset < %s
    group by source_offset
) as numbered
group by run order by 1
"""


@dataclass(frozen=True, slots=True)
class Landed:
    """Records of the results topic.

    Attributes:
        records: those in the landing table.
        rows: of them those in the table DS_CONTENT_MODERATION_TAGGING_1ST_LAYER.
    """

    records: Mapping[int, OffsetSet]
    rows: Mapping[int, OffsetSet]


@dataclass(frozen=True, slots=True)
class LandedEvents:
    """Source events in the view moderation_events; `rows` is how many rows they have there together."""

    offsets: Mapping[int, OffsetSet]
    rows: int


def check_tables(connection: "psycopg.Connection[Row]") -> None:
    """Raise psycopg's UndefinedTable where the table or the view is missing."""
    for name in ("landing", "moderation_events"):
        connection.execute(f"select from {name} limit 0".encode())


def find_landed(
    connection: "psycopg.Connection[Row]", topic: str, ranges: Mapping[int, OffsetRange]
) -> Landed:
    """Ask for these offsets of a topic."""

    def found(only_rows: bool) -> Iterator[tuple[int, int, int]]:
        for number, one in ranges.items():
            arguments = (topic, number, one.first, one.end, only_rows)
            for first, end in connection.execute(_LANDED, arguments):
                yield number, first, end

    return Landed(gather(found(False)), gather(found(True)))


def find_events(
    connection: "psycopg.Connection[Row]", topic: str, ranges: Mapping[int, OffsetRange]
) -> LandedEvents:
    """Ask for the source events among these offsets of the events topic."""
    ranges_found: list[tuple[int, int, int]] = []
    rows = 0
    for number, one in ranges.items():
        for first, end, times in connection.execute(_EVENTS, (topic, number, one.first, one.end)):
            ranges_found.append((number, first, end))
            rows += times
    return LandedEvents(gather(ranges_found), rows)


def spans(*every: Mapping[int, OffsetSet]) -> dict[int, OffsetRange]:
    """Partition → the range that all of its offsets are in."""
    bounds: dict[int, OffsetRange] = {}
    for number, first, end in _ranges(every):
        known = bounds.get(number, OffsetRange(first, end))
        bounds[number] = OffsetRange(min(first, known.first), max(end, known.end))
    return bounds


def _ranges(every: Iterable[Mapping[int, OffsetSet]]) -> Iterator[tuple[int, int, int]]:
    for offsets in every:
        for number, one in offsets.items():
            for first, end in one:
                yield number, first, end
