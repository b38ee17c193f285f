"""The comparison behind `streamapp warehouse check`, on counts made by hand."""

from collections.abc import Iterable
from dataclasses import replace

import pytest

from streamapp.offset_set import OffsetSet
from streamapp.warehouse.audit import Audit, audit
from streamapp.warehouse.landed import Landed, LandedEvents
from streamapp.warehouse.offsets import Offsets
from streamapp.warehouse.published import Events, Published, Results, row_attributes


def of(offsets: Iterable[int]) -> dict[int, OffsetSet]:
    """These offsets of partition 0."""
    made = OffsetSet()
    for offset in offsets:
        made.add(offset)
    return {0: made}


NONE: Offsets = {}
# Ten events: 0 a dead letter, 1 to 9 with a row; 3 has two of them. 10 records, and one that is no row.
PUBLISHED = Published(
    Events(committed={0: 10}, with_picture=of(range(10))),
    Results(records=of(range(11)), rows=of(range(10)), sources=of(range(1, 10)), repeats=1),
    dead_letters=of([0]),
)
LANDED = Landed(of(range(11)), of(range(10)))
LANDED_EVENTS = LandedEvents(of(range(1, 10)), rows=9)


def audited(
    published: Published = PUBLISHED,
    landed: Landed = LANDED,
    events: LandedEvents = LANDED_EVENTS,
    refused: Offsets = NONE,
    passed_to: int = 11,
) -> Audit:
    return audit(published, landed, events, refused=refused, passed_to={0: passed_to})


def test_all_is_there() -> None:
    found = audited()
    assert found.is_complete
    assert not any((found.without_outcome, found.aged, found.not_landed, found.refused, found.not_in_view))


def test_an_event_without_row_and_dead_letter_is_named() -> None:
    found = audited(replace(PUBLISHED, dead_letters={}))
    assert (found.without_outcome, found.is_complete) == (of([0]), False)


def test_an_event_whose_row_retention_took_from_the_topic_counts_where_it_has_landed() -> None:
    results = replace(PUBLISHED.results, records=of(range(5, 11)), sources=of(range(5, 10)))
    assert audited(replace(PUBLISHED, results=results)).is_complete


def test_an_event_whose_outcome_retention_may_have_taken_is_no_loss() -> None:
    events = replace(PUBLISHED.events, aged=of([0, 1]))
    found = audited(replace(PUBLISHED, events=events, dead_letters={}))
    assert (found.aged, found.without_outcome, found.is_complete) == (of([0]), {}, True)


@pytest.mark.parametrize(("passed_to", "passed"), [(11, of([4, 5, 8])), (6, of([4, 5])), (0, {})])
def test_records_that_connect_has_passed_are_told_from_those_to_come(passed_to: int, passed: Offsets) -> None:
    there = of(set(range(11)) - {4, 5, 8})
    found = audited(landed=Landed(there, there), passed_to=passed_to)
    assert (found.not_landed, found.passed, found.is_complete) == (of([4, 5, 8]), passed, False)
    # Not twice: the table can't have what has not landed.
    assert found.not_in_table == {}


def test_a_record_that_connect_refused_is_told_apart() -> None:
    there = of(set(range(11)) - {4, 5})
    found = audited(landed=Landed(there, there), refused=of([4, 9]))
    assert (found.refused, found.not_landed, found.is_complete) == (of([4]), of([5]), False)


def test_a_row_that_landed_and_is_not_in_the_table_is_named() -> None:
    found = audited(landed=Landed(LANDED.records, of(range(9))))
    assert (found.not_in_table, found.is_complete) == (of([9]), False)


def test_a_source_event_that_the_view_lacks_or_has_twice_is_found() -> None:
    lacking = audited(events=LandedEvents(of(range(1, 9)), rows=8))
    assert (lacking.not_in_view, lacking.is_complete) == (of([9]), False)
    twice = audited(events=LandedEvents(of(range(1, 10)), rows=10))
    assert (twice.events_twice, twice.is_complete) == (1, False)


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"x",
        b"[]",
        b"{}",
        b'{"UID": "1", "MESSAGE_RECEIVE_TIME": "x", "MODEL_ATTRIBUTES": []}',
        b"[" * 9999,
    ],
)
def test_what_is_no_row_has_no_attributes(value: bytes | None) -> None:
    assert row_attributes(value) is None
