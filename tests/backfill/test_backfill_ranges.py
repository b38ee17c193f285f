"""What is asked for: times, offsets, and what the topic holds of them."""

from datetime import UTC, datetime, timedelta

import pytest

from streamapp.backfill.ranges import (
    check_partitions_once,
    ranges_of_offsets,
    time_span,
)
from streamapp.errors import BrokerError
from streamapp.offsets import parse_offsets
from streamapp.reading import OffsetRange

NOW = datetime(2026, 11, 22, 19, tzinfo=UTC)
HELD = {0: OffsetRange(0, 0), 1: OffsetRange(500, 1000)}


def test_a_span_must_be_in_the_past_and_end_after_it_begins() -> None:
    hour = timedelta(hours=1)
    assert time_span(NOW - hour, None, NOW).end is None
    for start, end, message in (
        (NOW + hour, None, "--from .* is in the future"),
        (NOW - hour, NOW + hour, "--to .* is in the future"),
        (NOW - hour, NOW - hour, "is not after"),
        (datetime(1969, 12, 31, tzinfo=UTC), None, "before 1970"),
    ):
        with pytest.raises(ValueError, match=message):
            time_span(start, end, NOW)


def test_a_partition_has_one_range() -> None:
    check_partitions_once([parse_offsets("1:1-2"), parse_offsets("2:1-2")])
    with pytest.raises(ValueError, match="Partition 1 has more than one range"):
        check_partitions_once([parse_offsets("1:1-2"), parse_offsets("1:5-6")])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1:500-999", OffsetRange(500, 1000)),
        ("1:600-", OffsetRange(600, 1000)),
        ("1:999", OffsetRange(999, 1000)),
    ],
)
def test_offsets_that_the_topic_holds_are_a_range(text: str, expected: OffsetRange) -> None:
    assert ranges_of_offsets("events", [parse_offsets(text)], HELD) == {1: expected}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("7:1-2", r"events has no partition 7, only 0 to 1\."),
        ("0:0-5", r"events\[0\] holds no events"),
        ("1:499-600", r"events\[1\] holds the offsets 500 to 999: those from 499 on were deleted.*1:500-"),
        ("1:900-1000", r"events\[1\] holds the offsets 500 to 999: 1:900-1000 goes beyond them"),
        ("1:1000-", r"1:1000- goes beyond them"),
    ],
)
def test_offsets_that_the_topic_does_not_hold_are_refused_with_those_it_does(text: str, message: str) -> None:
    with pytest.raises(BrokerError, match=message):
        ranges_of_offsets("events", [parse_offsets(text)], HELD)
