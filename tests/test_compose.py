"""The row of an event: keys, formats, rounding, the fail-closed rules and PROVENANCE (DESIGN §5)."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from fakes import BrightnessModel, TaggingModel, picture_of

from streamapp import __version__
from streamapp.compose import Composer
from streamapp.errors import FetchError, MediaError
from streamapp.models.base import AnyModel, Verdict
from streamapp.models.ensemble import ModelReport
from streamapp.obtain import Content, Obtained
from streamapp.policy import ModelOutcome, load_policy
from streamapp.reasons import Reason, Status
from streamapp.records import Event, SourcePosition

POLICY = load_policy()
EVENT = Event("37217839", "https://cdn.example.com/a.png", "example_name", "co", "2022-06-10 01:21:01")
SOURCE = SourcePosition("modify_user", 3, 41210)
PICTURE = picture_of(1, 2)
FETCHED = Obtained(
    PICTURE, None, content=Content("00" * 32, 100), attempts=2, fetch_s=0.08123, decode_s=0.0062
)


def report(
    model: AnyModel, verdict: Verdict | None, reason: Reason | None = None, duration_s: float = 0.01849
) -> ModelReport:
    status = reason.status if reason else Status.PREDICTED
    outcome = ModelOutcome(model.prefix, model.moderates, status, duration_s, verdict)
    return ModelReport(model.name, model.info, outcome, reason, [[], []], queue_s=0.0121, batch=8)


def compose(
    obtained: Obtained, reports: Sequence[ModelReport], source: SourcePosition | None = SOURCE
) -> Any:
    row = Composer("1.0.0", POLICY).compose(
        EVENT, source, datetime(2022, 6, 21, 2, 18, 4, 776753, UTC), 1.20799, obtained, reports
    )
    return json.loads(row.to_json())


def test_a_picture_that_was_looked_at() -> None:
    row = compose(FETCHED, [report(BrightnessModel(), Verdict(False, {"NN_SAFE_SCORES": "0.9, 0.8"}))])

    attributes = row.pop("MODEL_ATTRIBUTES")
    assert row == {
        "UID": "37217839",
        "USERNAME": "example_name",
        "IMAGE_URL": "https://cdn.example.com/a.png",
        "COUNTRY": "co",
        "EVENT_TIME": "2022-06-10 01:21:01",
        "MESSAGE_RECEIVE_TIME": "2022-06-21 02:18:04.776753+00:00",
        "TOTAL_DURATION": 1.208,
        "PREDICTED_PRIMARY_CATEGORY": "",
        "PREDICTED_SECONDARY_CATEGORY": "",
        "MODEL_VERSION": "1.0.0",
        "TO_BE_MODERATED": False,
    }
    assert attributes.pop("PROVENANCE") == {
        "source": {"topic": "modify_user", "partition": 3, "offset": 41210},
        "content": {
            "sha256": "00" * 32,
            "media_type": "image/png",
            "bytes": 100,
            "width_px": 2,
            "height_px": 2,
        },
        "frames": [{"index": 0, "time_s": 0.0}, {"index": 1, "time_s": 1.0}],
        "frames_complete": True,
        "models": {
            "nudenet": {
                "name": "brightness",
                "weights_sha256": "ab" * 32,
                "precision": "fp32",
                "device": "cpu",
                "batch": 8,
                "mode": "enforce",
            }
        },
        "detections": {},
        "stages": {
            "fetch_s": 0.081,
            "decode_s": 0.006,
            "prepare_s": 0.0,
            "queue_s": 0.012,
            "nudenet_s": 0.018,
        },
        "policy": {"version": POLICY.version, "sha256": POLICY.sha256},
        "reason": None,
        "reason_sentence": None,
        "attempts": 2,
        "streamapp": __version__,
    }
    assert (attributes["NN_STATUS"], attributes["NN_PREDICTION_SUCCESS"]) == (0, True)
    assert (attributes["NN_DURATION"], attributes["NN_SAFE_SCORES"]) == (0.018, "0.9, 0.8")
    assert attributes["NN_TO_BE_MODERATED"] is False
    assert (attributes["MFD_STATUS"], attributes["CLIP_STATUS"], attributes["COOP_STATUS"]) == (-1, -1, -1)
    assert attributes["USER_ID"] == "37217839"


def test_an_unsafe_picture_is_to_be_moderated() -> None:
    row = compose(FETCHED, [report(BrightnessModel(), Verdict(True))])

    assert row["TO_BE_MODERATED"] is True
    assert row["MODEL_ATTRIBUTES"]["NN_TO_BE_MODERATED"] is True


def test_a_tagger_tags_and_moderates_nothing() -> None:
    row = compose(FETCHED, [report(TaggingModel(), Verdict(True, {}, ("selfies", "dance"), ("selfie",)))])

    assert row["TO_BE_MODERATED"] is False
    assert row["PREDICTED_PRIMARY_CATEGORY"] == "selfies, dance"
    assert row["PREDICTED_SECONDARY_CATEGORY"] == "selfie"
    assert "COOP_TO_BE_MODERATED" not in row["MODEL_ATTRIBUTES"]


def test_a_category_of_two_taggers_is_named_once() -> None:
    tags = Verdict(True, {}, ("selfies", "dance"), ("selfie",))
    row = compose(FETCHED, [report(TaggingModel(), tags), report(TaggingModel(), tags)])

    assert row["PREDICTED_PRIMARY_CATEGORY"] == "selfies, dance"
    assert row["PREDICTED_SECONDARY_CATEGORY"] == "selfie"


@pytest.mark.parametrize(
    ("obtained", "status"),
    [
        (Obtained(None, FetchError(Reason.NOT_FOUND, "404", attempts=1)), 403),
        (Obtained(None, MediaError(Reason.BROKEN_FILE, "broken"), content=Content("11" * 32, 7)), 1),
        (Obtained(None, MediaError(Reason.NO_KEY_FRAME, "no frame"), content=Content("11" * 32, 7)), 5),
    ],
)
def test_a_picture_that_can_not_be_looked_at_fails_closed(obtained: Obtained, status: int) -> None:
    assert obtained.error is not None
    row = compose(obtained, [report(BrightnessModel(), None, obtained.error.reason, 0.0)])

    attributes = row["MODEL_ATTRIBUTES"]
    assert row["TO_BE_MODERATED"] is True
    assert (attributes["NN_STATUS"], attributes["NN_PREDICTION_SUCCESS"]) == (status, False)
    assert attributes["NN_TO_BE_MODERATED"] is True
    assert attributes["NN_SAFE_SCORES"] == ""
    provenance = attributes["PROVENANCE"]
    assert provenance["reason"] == obtained.error.reason.value
    assert provenance["reason_sentence"] == obtained.error.reason.sentence
    assert provenance["frames"] == []
    assert provenance["frames_complete"] is False
    expected = {"media_type": None, "width_px": None, "height_px": None, "sha256": "11" * 32, "bytes": 7}
    assert provenance["content"] == (expected if obtained.content else None)


def test_a_picture_of_which_not_all_was_looked_at_says_so() -> None:
    obtained = replace(FETCHED, picture=replace(PICTURE, frames_complete=False))
    row = compose(obtained, [report(BrightnessModel(), Verdict(False))])

    provenance = row["MODEL_ATTRIBUTES"]["PROVENANCE"]
    assert (len(provenance["frames"]), provenance["frames_complete"]) == (2, False)


def test_a_model_that_raised_gives_the_reason() -> None:
    row = compose(
        FETCHED,
        [report(BrightnessModel(), None, Reason.MODEL_RAISED), report(TaggingModel(), Verdict(False))],
    )

    assert row["MODEL_ATTRIBUTES"]["NN_STATUS"] == 4
    assert row["MODEL_ATTRIBUTES"]["COOP_STATUS"] == 0
    assert row["MODEL_ATTRIBUTES"]["PROVENANCE"]["reason"] == "model_raised"
    assert row["TO_BE_MODERATED"] is True


def test_a_column_that_a_model_of_the_row_should_not_have_is_a_bug_and_not_dropped() -> None:
    with pytest.raises(TypeError, match="NN_SAFE_SCORE"):
        compose(FETCHED, [report(BrightnessModel(), Verdict(False, {"NN_SAFE_SCORE": "0.9"}))])


def test_a_picture_that_did_not_come_from_kafka_has_no_source() -> None:
    row = compose(FETCHED, [report(BrightnessModel(), Verdict(False))], source=None)

    assert row["MODEL_ATTRIBUTES"]["PROVENANCE"]["source"] is None


def test_rows_of_a_backfill_carry_its_id_and_others_have_no_such_key() -> None:
    reports = [report(BrightnessModel(), Verdict(False))]
    made = [
        Composer("1.0.0", POLICY, run).compose(EVENT, SOURCE, datetime.now(UTC), 1.0, FETCHED, reports)
        for run in ("a-run", None)
    ]

    assert made[0].MODEL_ATTRIBUTES.PROVENANCE["backfill"] == "a-run"
    assert "backfill" not in made[1].MODEL_ATTRIBUTES.PROVENANCE
