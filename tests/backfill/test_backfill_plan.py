"""The plan of a run: what is left of it, and how the broker keeps it."""

from datetime import UTC, datetime

import pytest

from streamapp.backfill.plan import Plan, new_plan, options_digest, read_plan
from streamapp.backfill.planning import group_of
from streamapp.backfill.ranges import TimeSpan
from streamapp.errors import BrokerError
from streamapp.offsets import PartitionOffsets
from streamapp.reading import OffsetRange
from streamapp.reasons import Reason

SPAN = TimeSpan(datetime(2026, 11, 22, tzinfo=UTC))
RANGES = {0: OffsetRange(0, 10), 1: OffsetRange(5, 5), 2: OffsetRange(100, 130)}


def kept(plan: Plan, done: dict[int, int]) -> dict[int, tuple[int, str]]:
    """The plan as the broker keeps it."""
    return {number: (done.get(number, plan.done[number]), plan.note(number)) for number in plan.ranges}


def test_a_plan_is_read_back_with_what_is_done() -> None:
    plan = new_plan("a-run", "results", ("timeout",), SPAN, RANGES)
    again = read_plan("a-run", "group", kept(plan, {0: 10, 2: 120}))

    assert again is not None
    assert (again.ranges, again.results_topic, again.only_reasons) == (plan.ranges, "results", ("timeout",))
    assert again.left == {2: OffsetRange(120, 130)}
    assert (plan.offsets, plan.offsets_left, again.offsets_left) == (40, 40, 10)
    assert again.digest == plan.digest


def test_a_partition_without_events_is_no_part_of_a_plan() -> None:
    assert list(new_plan("a-run", "results", (), SPAN, RANGES).ranges) == [0, 2]


def test_a_run_that_nobody_began_has_no_plan() -> None:
    assert read_plan("a-run", "group", {}) is None


@pytest.mark.parametrize("note", ["", "{}", '{"first": 1, "end": 2}', "a note of someone else's"])
def test_offsets_that_are_not_a_backfills_are_never_gone_on_with(note: str) -> None:
    with pytest.raises(BrokerError, match="group 'group' carry no plan"):
        read_plan("a-run", "group", {0: (5, note)})


def test_what_retention_deleted_is_left_out() -> None:
    plan = new_plan("a-run", "results", (), SPAN, RANGES)
    left = plan.without_deleted({0: OffsetRange(4, 50), 1: OffsetRange(0, 9), 2: OffsetRange(200, 300)}).left

    assert left == {0: OffsetRange(4, 10)}


def test_options_are_told_apart_and_their_order_does_not_count() -> None:
    offsets = (PartitionOffsets(1, 5, None), PartitionOffsets(0, 5, 9))
    same = options_digest("results", ("timeout", "refused"), offsets)

    assert same == options_digest("results", ("refused", "timeout"), offsets[::-1])
    others = {
        options_digest("other", ("timeout", "refused"), offsets),
        options_digest("results", ("timeout",), offsets),
        options_digest("results", ("timeout", "refused"), offsets[:1]),
        options_digest("results", ("timeout", "refused"), SPAN),
        options_digest("results", ("timeout", "refused"), TimeSpan(SPAN.start, SPAN.start)),
    }
    assert len(others | {same}) == 6


def test_the_longest_note_fits_into_what_kafka_takes() -> None:
    plan = new_plan("r" * 80, "t" * 249, tuple(Reason), SPAN, {0: OffsetRange(10**17, 10**18)})

    assert len(plan.note(0)) < 4096  # offset.metadata.max.bytes


def test_a_runs_group_is_never_the_workers() -> None:
    assert group_of("streamapp", "streamapp") == "streamapp-backfill-streamapp"
