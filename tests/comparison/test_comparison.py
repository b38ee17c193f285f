"""Rows find their partners, and agree as their kinds say."""

from pathlib import Path
from typing import Any

import pytest
from comparison.rows_to_compare import row, write

from streamapp.comparison import Comparison, compare, match_files
from streamapp.errors import StreamappError


def compared(
    folder: Path, old: list[dict[str, Any]], new: list[dict[str, Any]], **options: float
) -> Comparison:
    return compare(match_files(write(folder / "old", old), write(folder / "new", new)), **options)


def agreement(comparison: Comparison, name: str) -> tuple[int, int]:
    """How many events were compared, and how many agree."""
    return next((a.event_count, a.agreed_count) for a in comparison.fields if a.field.name == name)


def differing(folder: Path, old: dict[str, Any], new: dict[str, Any], **options: float) -> list[str]:
    """The fields in which the rows of one event differ."""
    return [name for one in compared(folder, [old], [new], **options).disagreements for name in one.names]


def test_equal_rows_agree_in_every_field(tmp_path: Path) -> None:
    comparison = compared(tmp_path, [row()], [row()])

    assert {(a.event_count, a.agreed_count) for a in comparison.fields} == {(1, 1)}
    assert comparison.disagreements == []
    assert comparison.verdict_agreement == 1


@pytest.mark.parametrize(
    ("old", "new", "names"),
    [
        ({}, {"TO_BE_MODERATED": True}, ["TO_BE_MODERATED"]),
        ({}, {"MFD_STATUS": 4}, ["MFD_STATUS"]),
        ({"PREDICTED_PRIMARY_CATEGORY": "a, b"}, {"PREDICTED_PRIMARY_CATEGORY": "b, a"}, []),
        (
            {"PREDICTED_PRIMARY_CATEGORY": "a, b"},
            {"PREDICTED_PRIMARY_CATEGORY": "a"},
            ["PREDICTED_PRIMARY_CATEGORY"],
        ),
        # 0.40 - 0.35 is a little more than 0.05 in binary.
        ({"NN_UNSAFE_SCORES": "0.3500"}, {"NN_UNSAFE_SCORES": "0.4000"}, []),
        ({"NN_UNSAFE_SCORES": "0.1000"}, {"NN_UNSAFE_SCORES": "0.1501"}, ["NN_UNSAFE_SCORES"]),
        ({"NN_UNSAFE_SCORES": "0.9000"}, {"NN_UNSAFE_SCORES": "0.1000, 0.9000, 0.0000"}, []),
        ({"NN_SAFE_SCORES": "0.1000"}, {"NN_SAFE_SCORES": "0.9000, 0.1000"}, []),
        ({"NN_SAFE_SCORES": "0.9000"}, {"NN_SAFE_SCORES": "0.9000, 0.1000"}, ["NN_SAFE_SCORES"]),
        ({"NN_UNSAFE_SCORES": ""}, {"NN_UNSAFE_SCORES": ""}, []),
        ({"NN_UNSAFE_SCORES": ""}, {"NN_UNSAFE_SCORES": "0.0000"}, ["NN_UNSAFE_SCORES"]),
        ({"NN_DURATION": 0.1, "TOTAL_DURATION": 0.1}, {"NN_DURATION": 9.0, "TOTAL_DURATION": 9.0}, []),
    ],
)
def test_fields_agree_as_their_kind_says(
    old: dict[str, Any], new: dict[str, Any], names: list[str], tmp_path: Path
) -> None:
    assert differing(tmp_path, row(**old), row(**new)) == names


def test_the_tolerance_is_that_of_scores_alone(tmp_path: Path) -> None:
    old, new = row(NN_UNSAFE_SCORES="0.1000"), row(NN_UNSAFE_SCORES="0.1010", NN_STATUS=1)

    assert differing(tmp_path, old, new, tolerance=0) == ["NN_STATUS", "NN_UNSAFE_SCORES"]
    assert differing(tmp_path, old, new, tolerance=1) == ["NN_STATUS"]


def test_the_order_of_categories_is_counted_apart(tmp_path: Path) -> None:
    orders = [row(UID=uid, PREDICTED_PRIMARY_CATEGORY=text) for uid, text in (("1", "a, b"), ("2", "b, a"))]
    comparison = compared(tmp_path, orders, [row(UID=uid, PREDICTED_PRIMARY_CATEGORY="a, b") for uid in "12"])
    field = next(a for a in comparison.fields if a.field.name == "PREDICTED_PRIMARY_CATEGORY")

    assert (field.event_count, field.agreed_count, field.same_order_count) == (2, 2, 1)


@pytest.mark.parametrize("is_off_before", [True, False])
def test_a_model_that_is_off_on_one_side_differs_in_its_status_alone(
    is_off_before: bool, tmp_path: Path
) -> None:
    off = {"MFD_STATUS": -1, "MFD_TO_BE_MODERATED": False, "MFD_PREDICTION_SUCCESS": False}
    rows = [row(MFD_TO_BE_MODERATED=True, TO_BE_MODERATED=True), row(**off, TO_BE_MODERATED=True)]
    old, new = reversed(rows) if is_off_before else rows
    comparison = compared(tmp_path, [old], [new])

    assert [one.names for one in comparison.disagreements] == [("MFD_STATUS",)]
    assert agreement(comparison, "MFD_TO_BE_MODERATED") == (0, 0)
    assert agreement(comparison, "TO_BE_MODERATED") == (1, 1)
    assert "MFD_DURATION" not in [one.name for one in comparison.seconds]


def test_a_model_that_is_off_on_both_sides_is_not_counted_as_agreement(tmp_path: Path) -> None:
    comparison = compared(tmp_path, [row(MFD_STATUS=-1)], [row(MFD_STATUS=-1)])

    assert agreement(comparison, "MFD_STATUS") == (0, 0)


def test_a_key_that_one_side_does_not_have_is_not_compared(tmp_path: Path) -> None:
    old = row()
    for name in [name for name in old["MODEL_ATTRIBUTES"] if name.startswith("MFD_")]:
        del old["MODEL_ATTRIBUTES"][name]

    assert differing(tmp_path, old, row(MFD_TO_BE_MODERATED=True)) == []


def test_the_confusions_and_kappa_are_those_of_the_definition(tmp_path: Path) -> None:
    # 20 both, 5 old only, 10 new only, 15 neither: 0.7 observed, 0.5 by chance, kappa 0.4.
    flags = [(True, True)] * 20 + [(True, False)] * 5 + [(False, True)] * 10 + [(False, False)] * 15
    old = [row(UID=str(n), TO_BE_MODERATED=flag) for n, (flag, _) in enumerate(flags)]
    new = [row(UID=str(n), TO_BE_MODERATED=flag) for n, (_, flag) in enumerate(flags)]
    comparison = compared(tmp_path, old, new)
    whole, nudenet = comparison.confusions[:2]

    assert (whole.both, whole.old_only, whole.new_only, whole.neither) == (20, 5, 10, 15)
    assert whole.kappa == pytest.approx(0.4)
    assert comparison.verdict_agreement == pytest.approx(0.7)
    assert (nudenet.name, nudenet.neither, nudenet.kappa) == ("NN_TO_BE_MODERATED", 50, None)


def test_durations_are_medians_over_the_events_of_both(tmp_path: Path) -> None:
    old = [row(UID=str(n), TOTAL_DURATION=float(n)) for n in (1, 2, 9)]
    new = [row(UID=str(n), TOTAL_DURATION=n / 10) for n in (1, 2, 9)]
    (total, *_) = compared(tmp_path, old, [*new, row(UID="4", TOTAL_DURATION=99.0)]).seconds

    assert (total.name, total.old_median_s, total.new_median_s) == ("TOTAL_DURATION", 2.0, 0.2)


def test_what_would_be_missed_comes_first_then_what_is_newly_flagged_then_the_largest_distance(
    tmp_path: Path,
) -> None:
    scores = {"near": "0.2000", "far": "0.9000"}
    old = [row(UID=uid) for uid in (*scores, "new")] + [row(UID="missed", TO_BE_MODERATED=True)]
    new = [row(UID=uid, NN_UNSAFE_SCORES=score) for uid, score in scores.items()]
    new += [row(UID="new", TO_BE_MODERATED=True), row(UID="missed")]
    comparison = compared(tmp_path, old, new)

    assert [one.new.uid for one in comparison.disagreements] == ["missed", "new", "far", "near"]


@pytest.mark.parametrize("padding", ["", "x" * 1000], ids=["the old one is held", "the new one is held"])
def test_the_latest_row_of_an_event_counts_wherever_it_stands(padding: str, tmp_path: Path) -> None:
    times = ("2026-11-22 10:00:00.000000+00:00", "2026-11-22 12:30:00+02:00", "2026-11-22 09:00:00")
    statuses = (1, 4, 5)
    again = [row(MESSAGE_RECEIVE_TIME=t, NN_STATUS=s) for t, s in zip(times, statuses, strict=True)]
    old = [row(USERNAME=padding), row(UID="7")]
    comparison = compared(tmp_path, old, again)
    (pair,) = comparison.matching.pairs
    sides = comparison.matching.old, comparison.matching.new

    assert [facts.value("NN_STATUS") for facts in pair] == [0, 4]
    assert [side.repeated_count for side in sides] == [0, 2]
    assert [side.unmatched_count for side in sides] == [1, 0]
    # Which side was held must not show.
    swapped = compare(match_files(tmp_path / "new", tmp_path / "old"))
    assert [facts.value("NN_STATUS") for facts in swapped.matching.pairs[0]] == [4, 0]


def test_rows_without_a_partner_are_counted_on_their_side(tmp_path: Path) -> None:
    old = [row(), row(UID="old"), row(UID="old")]
    new = [row(), row(UID="new"), row(IMAGE_URL="https://cdn.example.com/b.png"), row(EVENT_TIME=None)]
    matching = compared(tmp_path, old, new).matching

    assert (matching.old.unmatched_count, matching.new.unmatched_count) == (2, 3)
    assert [facts.uid for facts in matching.old.unmatched] == ["old"]


AS_A_WAREHOUSE_WRITES_IT = ["{}T{}Z", "{} {}.000", "{} {}.000+00:00", "{} {}.000 Z", "{} {}.000 +0000"]


@pytest.mark.parametrize("form", AS_A_WAREHOUSE_WRITES_IT)
def test_an_event_time_as_a_warehouse_writes_it_is_the_same_time(form: str, tmp_path: Path) -> None:
    there = row(EVENT_TIME=form.format(*row()["EVENT_TIME"].split()))

    assert compared(tmp_path, [row()], [there]).event_count == 1


@pytest.mark.parametrize("form", AS_A_WAREHOUSE_WRITES_IT)
def test_the_latest_row_is_found_in_times_as_a_warehouse_writes_them(form: str, tmp_path: Path) -> None:
    days = ("2022-06-22", 4), ("2022-06-21", 0)
    again = [row(MESSAGE_RECEIVE_TIME=form.format(day, "02:18:04"), NN_STATUS=status) for day, status in days]
    comparison = compared(tmp_path, again, [row()])

    assert [facts.value("NN_STATUS") for facts in comparison.matching.pairs[0]] == [4, 0]


def test_event_times_that_are_no_times_match_as_text(tmp_path: Path) -> None:
    comparison = compared(tmp_path, [row(EVENT_TIME="soon")], [row(EVENT_TIME="soon")])

    assert comparison.event_count == 1


def test_files_without_a_common_event_are_an_error_that_shows_how_they_differ(tmp_path: Path) -> None:
    with pytest.raises(StreamappError, match=r"No event is in both files\. .* old: '1', .*; new: '2', "):
        compared(tmp_path, [row(UID="1")], [row(UID="2")])


@pytest.mark.parametrize(("lines", "why"), [([], "it is empty"), (["x"], "line 1 is neither JSON nor")])
def test_a_file_without_rows_is_an_error_that_says_why(lines: list[str], why: str, tmp_path: Path) -> None:
    with pytest.raises(StreamappError, match=rf"old holds no row.*{why}"):
        match_files(write(tmp_path / "old", lines), write(tmp_path / "new", [row()]))
