"""The demo's events, and when an outcome counts as the expected one."""

import io

import pytest
from PIL import Image, ImageOps
from rows import dead_letter, row_outcome

from streamapp.errors import DeadLetterReason, EventError
from streamapp.local.demo_cases import (
    DemoCase,
    Expected,
    ExpectedDeadLetter,
    ExpectedNothing,
    ExpectedRow,
    demo_cases,
    differences,
)
from streamapp.local.outcomes import Outcome
from streamapp.local.summary import CaseResult
from streamapp.reasons import Reason
from streamapp.records import leaves_a_record, read_event

PREDICTED = ExpectedRow(media_type="image/png", size_px=(8, 8), least_frames=1)
MISSING = ExpectedRow(reason=Reason.NOT_FOUND)
REMOVED = ExpectedNothing()
NOT_JSON = ExpectedDeadLetter(DeadLetterReason.NOT_JSON)
NOT_FOUND_ROW = row_outcome(
    reason="not_found",
    NN_STATUS=403,
    NN_PREDICTION_SUCCESS=False,
    TO_BE_MODERATED=True,
    content=None,
    frames=[],
)


@pytest.fixture(scope="module")
def cases() -> list[DemoCase]:
    return demo_cases()


def test_the_demo_sends_about_forty_events_of_different_users(cases: list[DemoCase]) -> None:
    assert len(cases) == 40
    assert len({case.user_id for case in cases}) == 12
    assert len({case.title for case in cases if not isinstance(case.expected, ExpectedRow)}) == 3


def test_each_picture_is_what_its_expected_row_says(cases: list[DemoCase]) -> None:
    for case in cases:
        if (
            case.content is None
            or not isinstance(case.expected, ExpectedRow)
            or case.expected.reason is not None
        ):
            continue
        if case.path.endswith((".heic", ".mp4")):  # Pillow reads neither
            assert case.content[4:8] == b"ftyp", case.title
            continue
        with Image.open(io.BytesIO(case.content)) as image:
            assert f"image/{image.format}".lower() == case.expected.media_type, case.title
            upright = ImageOps.exif_transpose(image) if image.format == "JPEG" else image
            assert upright.size == case.expected.size_px, case.title


def test_every_value_fails_or_is_read_as_its_case_expects(cases: list[DemoCase]) -> None:
    for case in cases:
        value = case.record_value(lambda name: f"http://127.0.0.1:1/{name}")
        assert leaves_a_record(value) is not isinstance(case.expected, ExpectedNothing)
        if isinstance(case.expected, ExpectedDeadLetter):
            with pytest.raises(EventError) as caught:
                read_event(value)
            assert caught.value.reason is case.expected.reason
        else:
            assert read_event(value).user_id == case.user_id


@pytest.mark.parametrize(
    ("expected", "outcome"),
    [
        (PREDICTED, row_outcome()),
        (ExpectedRow(is_flagged=True), row_outcome(TO_BE_MODERATED=True)),
        (MISSING, NOT_FOUND_ROW),
        (NOT_JSON, dead_letter("not_json")),
        (REMOVED, None),
    ],
)
def test_the_expected_outcome_has_no_differences(expected: Expected, outcome: Outcome | None) -> None:
    assert differences(expected, outcome) == []


@pytest.mark.parametrize(
    ("expected", "outcome", "sentence"),
    [
        (PREDICTED, None, "No outcome came."),
        (PREDICTED, dead_letter("not_json"), "Expected a row; got a dead letter, not_json."),
        (PREDICTED, row_outcome(TO_BE_MODERATED=True), "TO_BE_MODERATED: expected False, got True."),
        (
            PREDICTED,
            row_outcome(NN_PREDICTION_SUCCESS=False),
            "PREDICTION_SUCCESS: expected True, got False.",
        ),
        (PREDICTED, row_outcome(frames=[]), "Expected 1 key frames or more, got 0."),
        (PREDICTED, row_outcome(content={}), "media type: expected image/png, got None."),
        (ExpectedRow(size_px=(8, 4)), row_outcome(), "size: expected (8, 4), got (8, 8)."),
        (MISSING, row_outcome(reason="refused", NN_STATUS=403), "reason: expected not_found, got refused."),
        (MISSING, row_outcome(reason="not_found", NN_STATUS=1), "STATUS: expected 403, got 1."),
        (MISSING, row_outcome(reason="not_found"), "TO_BE_MODERATED: expected True, got False."),
        (NOT_JSON, row_outcome(), "Expected a dead letter, not_json; got a row."),
        (NOT_JSON, dead_letter("no_user_id"), "Expected a dead letter, not_json; got no_user_id."),
        (REMOVED, row_outcome(), "A record came of it and none was expected."),
    ],
)
def test_each_difference_is_told(expected: Expected, outcome: Outcome | None, sentence: str) -> None:
    assert sentence in differences(expected, outcome)


@pytest.mark.parametrize(
    ("outcome", "verdict"),
    [
        (row_outcome(), "passed"),
        (row_outcome(TO_BE_MODERATED=True), "flagged"),
        (NOT_FOUND_ROW, "fail closed"),
        (dead_letter("not_json"), "dead letter"),
        (None, "no record"),
    ],
)
def test_the_verdict_is_one_of_five_words(outcome: Outcome | None, verdict: str) -> None:
    assert CaseResult(DemoCase("title", "", REMOVED), outcome).verdict == verdict


def test_an_event_that_was_not_committed_is_a_difference() -> None:
    result = CaseResult(DemoCase("title", "", PREDICTED), row_outcome(), is_committed=False)
    assert result.differences == ["The worker has not committed past the event."]
