import math

import pytest

from streamapp.errors import SettingsError
from streamapp.models.base import Verdict
from streamapp.policy import DEFAULT_POLICY, ModelOutcome, NudeNetPolicy, Policy, row_to_be_moderated
from streamapp.reasons import Status

SAFE = Verdict(to_be_moderated=False)
UNSAFE = Verdict(to_be_moderated=True)
FAILURES = [Status.NOT_MEDIA, Status.NOT_AVAILABLE, Status.MODEL_RAISED, Status.NO_KEY_FRAME]


def outcome(prefix: str, status: Status = Status.PREDICTED, verdict: Verdict | None = None) -> ModelOutcome:
    return ModelOutcome(prefix, moderates=prefix != "COOP", status=status, duration_s=0.1, verdict=verdict)


def policy(threshold: float = 0.25, version: str = "1") -> Policy:
    return Policy(version, NudeNetPolicy({"ANUS_EXPOSED": threshold}), {"nudenet": "enforce"})


def test_the_default_policy_calls_the_five_exposed_classes_unsafe_from_a_quarter_on() -> None:
    assert DEFAULT_POLICY.version == "2026-11-22"
    assert DEFAULT_POLICY.modes["nudenet"] == "enforce"
    assert dict(DEFAULT_POLICY.nudenet.unsafe_thresholds) == {
        "FEMALE_BREAST_EXPOSED": 0.25,
        "FEMALE_GENITALIA_EXPOSED": 0.25,
        "MALE_GENITALIA_EXPOSED": 0.25,
        "BUTTOCKS_EXPOSED": 0.25,
        "ANUS_EXPOSED": 0.25,
    }


def test_a_score_at_its_class_threshold_is_unsafe_and_one_below_is_not() -> None:
    nudenet = NudeNetPolicy({"ANUS_EXPOSED": 0.5})
    assert nudenet.is_unsafe("ANUS_EXPOSED", 0.5)
    assert not nudenet.is_unsafe("ANUS_EXPOSED", 0.499)


def test_a_class_that_the_policy_does_not_name_is_never_unsafe() -> None:
    nudenet = NudeNetPolicy({"ANUS_EXPOSED": 0.5})
    assert not nudenet.is_unsafe("FACE_MALE", 1.0)
    assert not nudenet.is_unsafe_class("FACE_MALE")


@pytest.mark.parametrize("threshold", [0.0, -0.1, 1.01, math.nan])
def test_a_threshold_that_is_no_score_is_refused(threshold: float) -> None:
    with pytest.raises(SettingsError, match="ANUS_EXPOSED"):
        NudeNetPolicy({"ANUS_EXPOSED": threshold})


def test_the_digest_changes_with_every_part_of_the_policy() -> None:
    other_mode = Policy("1", policy().nudenet, {})
    digests = {p.sha256 for p in (policy(), policy(threshold=0.3), policy(version="2"), other_mode)}
    assert len(digests) == 4


def test_the_digest_does_not_depend_on_the_order_or_on_how_a_number_is_written() -> None:
    one = NudeNetPolicy({"ANUS_EXPOSED": 1, "BUTTOCKS_EXPOSED": 0.25})
    other = NudeNetPolicy({"BUTTOCKS_EXPOSED": 0.250, "ANUS_EXPOSED": 1.0})
    assert Policy("1", one, {}).sha256 == Policy("1", other, {}).sha256


def test_the_default_policy_s_digest_is_the_one_that_rows_already_carry() -> None:
    # Whoever changes the policy changes its version, and this line.
    assert DEFAULT_POLICY.sha256 == "adda947e25bf103300e7b3de6a42a275dd58ed45858fb0efdcd9c4dbe362e8bc"


def test_a_policy_can_t_be_changed_after_it_was_made() -> None:
    thresholds = {"ANUS_EXPOSED": 0.25}
    nudenet = NudeNetPolicy(thresholds)
    thresholds["ANUS_EXPOSED"] = 0.9
    assert nudenet.unsafe_thresholds["ANUS_EXPOSED"] == 0.25
    with pytest.raises(TypeError):
        nudenet.unsafe_thresholds["ANUS_EXPOSED"] = 0.9  # type: ignore[index]


def test_only_status_0_is_a_success() -> None:
    assert outcome("NN", verdict=SAFE).succeeded
    for status in [*FAILURES, Status.SWITCHED_OFF]:
        assert not outcome("NN", status).succeeded


def test_a_model_that_succeeded_decides_by_its_verdict() -> None:
    assert outcome("NN", verdict=UNSAFE).to_be_moderated
    assert not outcome("NN", verdict=SAFE).to_be_moderated


@pytest.mark.parametrize("status", FAILURES)
def test_a_model_that_is_on_and_did_not_succeed_asks_for_a_person(status: Status) -> None:
    assert outcome("NN", status).to_be_moderated


def test_a_model_that_is_switched_off_does_not_ask_for_a_person() -> None:
    assert not outcome("NN", Status.SWITCHED_OFF).to_be_moderated


@pytest.mark.parametrize("status", FAILURES)
def test_a_tagger_that_failed_does_not_ask_for_a_person(status: Status) -> None:
    assert not outcome("COOP", status).to_be_moderated


def test_a_tagger_s_verdict_does_not_moderate() -> None:
    assert not outcome("COOP", verdict=UNSAFE).to_be_moderated


@pytest.mark.parametrize("prefix", ["NN", "CLIP", "MFD"])
def test_one_model_that_moderates_is_enough_for_the_row(prefix: str) -> None:
    outcomes = [outcome(p, verdict=UNSAFE if p == prefix else SAFE) for p in ("NN", "CLIP", "MFD", "COOP")]
    assert row_to_be_moderated(outcomes)


def test_a_row_whose_models_all_call_it_safe_is_not_to_be_moderated() -> None:
    assert not row_to_be_moderated([outcome(p, verdict=SAFE) for p in ("NN", "CLIP", "MFD")])


def test_a_row_of_which_one_model_failed_is_to_be_moderated_though_the_others_call_it_safe() -> None:
    assert row_to_be_moderated([outcome("NN", verdict=SAFE), outcome("MFD", Status.MODEL_RAISED)])


def test_a_row_without_any_model_that_is_on_is_not_to_be_moderated() -> None:
    assert not row_to_be_moderated([outcome("NN", Status.SWITCHED_OFF), outcome("COOP", verdict=SAFE)])


@pytest.mark.parametrize(
    ("status", "verdict"),
    [(Status.PREDICTED, None), (Status.MODEL_RAISED, SAFE), (Status.SWITCHED_OFF, SAFE)],
)
def test_a_verdict_without_success_or_success_without_a_verdict_is_a_bug(
    status: Status, verdict: Verdict | None
) -> None:
    with pytest.raises(ValueError, match="This is a bug"):
        outcome("NN", status, verdict)
