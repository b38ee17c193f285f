"""A model's say in the row's TO_BE_MODERATED, fail closed."""

import pytest

from streamapp.models.base import Verdict
from streamapp.policy import Mode, ModelOutcome, load_policy, row_to_be_moderated
from streamapp.reasons import Status

SAFE = Verdict(to_be_moderated=False)
UNSAFE = Verdict(to_be_moderated=True)
FAILURES = [Status.NOT_MEDIA, Status.NOT_AVAILABLE, Status.MODEL_RAISED, Status.NO_KEY_FRAME]
PREFIXES = {"nudenet": "NN", "mfd": "MFD", "clip": "CLIP", "coop": "COOP"}
MODES = load_policy().modes


def outcome(name: str, status: Status = Status.PREDICTED, verdict: Verdict | None = None) -> ModelOutcome:
    return ModelOutcome(
        PREFIXES[name], moderates=name != "coop", status=status, duration_s=0.1, verdict=verdict
    )


def row(*, shadow: str = "", **outcomes: Status | Verdict) -> bool:
    """Whether a row is to be moderated, by how each model ended."""
    modes: dict[str, Mode] = {name: "shadow" if name == shadow else "enforce" for name in PREFIXES}
    ended = {
        name: outcome(name, end) if isinstance(end, Status) else outcome(name, verdict=end)
        for name, end in outcomes.items()
    }
    return row_to_be_moderated(ended, modes)


def test_only_status_0_is_a_success() -> None:
    assert outcome("nudenet", verdict=SAFE).succeeded
    for status in [*FAILURES, Status.SWITCHED_OFF]:
        assert not outcome("nudenet", status).succeeded


def test_a_model_that_succeeded_decides_by_its_verdict() -> None:
    assert outcome("nudenet", verdict=UNSAFE).to_be_moderated
    assert not outcome("nudenet", verdict=SAFE).to_be_moderated


@pytest.mark.parametrize("status", FAILURES)
def test_a_model_that_is_on_and_did_not_succeed_asks_for_a_person(status: Status) -> None:
    assert outcome("nudenet", status).to_be_moderated


def test_a_model_that_is_switched_off_does_not_ask_for_a_person() -> None:
    assert not outcome("nudenet", Status.SWITCHED_OFF).to_be_moderated


@pytest.mark.parametrize("status", FAILURES)
def test_a_tagger_that_failed_does_not_ask_for_a_person(status: Status) -> None:
    assert not outcome("coop", status).to_be_moderated


def test_a_tagger_s_verdict_does_not_moderate() -> None:
    assert not outcome("coop", verdict=UNSAFE).to_be_moderated


@pytest.mark.parametrize("unsafe", ["nudenet", "clip", "mfd"])
def test_one_model_that_moderates_is_enough_for_the_row(unsafe: str) -> None:
    verdicts = {name: UNSAFE if name == unsafe else SAFE for name in PREFIXES}
    assert row(nudenet=verdicts["nudenet"], mfd=verdicts["mfd"], clip=verdicts["clip"], coop=SAFE)


def test_a_row_whose_models_all_call_it_safe_is_not_to_be_moderated() -> None:
    assert not row(nudenet=SAFE, mfd=SAFE, clip=SAFE, coop=SAFE)


def test_a_row_of_which_one_model_failed_is_to_be_moderated_though_the_others_call_it_safe() -> None:
    assert row(nudenet=SAFE, mfd=Status.MODEL_RAISED)


def test_a_row_without_any_model_that_is_on_is_not_to_be_moderated() -> None:
    assert not row(nudenet=Status.SWITCHED_OFF, coop=SAFE)


@pytest.mark.parametrize("ended", [UNSAFE, Status.MODEL_RAISED])
def test_a_model_in_shadow_has_no_say_in_the_row(ended: Status | Verdict) -> None:
    assert row(mfd=ended, nudenet=SAFE)
    assert not row(shadow="mfd", mfd=ended, nudenet=SAFE)


def test_a_model_in_shadow_does_not_silence_the_others() -> None:
    assert row(shadow="mfd", mfd=SAFE, clip=UNSAFE)


def test_the_policy_in_the_package_enforces_all_four_models() -> None:
    assert dict(MODES) == {"nudenet": "enforce", "mfd": "enforce", "clip": "enforce", "coop": "enforce"}


@pytest.mark.parametrize(
    ("status", "verdict"),
    [(Status.PREDICTED, None), (Status.MODEL_RAISED, SAFE), (Status.SWITCHED_OFF, SAFE)],
)
def test_a_verdict_without_success_or_success_without_a_verdict_is_a_bug(
    status: Status, verdict: Verdict | None
) -> None:
    with pytest.raises(ValueError, match="This is a bug"):
        outcome("nudenet", status, verdict)
