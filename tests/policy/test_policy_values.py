"""The policy as a value, and its digest."""

import json
import math
from dataclasses import replace

import pytest
from taxonomies import taxonomy_of

from streamapp.errors import SettingsError
from streamapp.policy import Mode, NudeNetPolicy, Policy

TAXONOMY = taxonomy_of({"a": ("A", ["a1", "a2"]), "b": ("B", ["b1"])})
ENFORCED: dict[str, Mode] = {"nudenet": "enforce"}


def policy(threshold: float = 0.25) -> Policy:
    return Policy("1", NudeNetPolicy({"ANUS_EXPOSED": threshold}), ENFORCED, {"mfd": 0.5}, TAXONOMY)


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
    with pytest.raises(SettingsError, match="mfd"):
        replace(policy(), thresholds={"mfd": threshold})


def test_a_model_s_threshold_is_found_by_its_name() -> None:
    assert policy().threshold("mfd") == 0.5
    with pytest.raises(SettingsError, match="no threshold for clip"):
        policy().threshold("clip")


def test_the_digest_changes_with_every_part_of_the_policy() -> None:
    one = policy()
    others = [
        replace(one, version="2"),
        policy(threshold=0.3),
        replace(one, modes={"nudenet": "shadow"}),
        replace(one, thresholds={"mfd": 0.6}),
        replace(one, taxonomy=taxonomy_of({"a": ("A", ["a2", "a1"]), "b": ("B", ["b1"])})),
        replace(one, taxonomy=TAXONOMY.model_copy(update={"min_class_probability": 0.06})),
        replace(one, taxonomy=TAXONOMY.model_copy(update={"moderated_primaries": ("A",)})),
    ]
    assert len({one.sha256, *(other.sha256 for other in others)}) == 8


def test_the_order_of_the_sentences_is_part_of_the_digest() -> None:
    turned = TAXONOMY.content()
    turned["secondaries"] = dict(reversed(turned["secondaries"].items()))
    other = replace(policy(), taxonomy=type(TAXONOMY).model_validate(turned))
    assert other.sha256 != policy().sha256


def test_the_digest_does_not_depend_on_the_order_of_the_models_or_on_how_a_number_is_written() -> None:
    one = replace(
        policy(),
        nudenet=NudeNetPolicy({"ANUS_EXPOSED": 1, "BUTTOCKS_EXPOSED": 0.25}),
        modes={"nudenet": "enforce", "mfd": "shadow"},
    )
    other = replace(
        policy(),
        nudenet=NudeNetPolicy({"BUTTOCKS_EXPOSED": 0.250, "ANUS_EXPOSED": 1.0}),
        modes={"mfd": "shadow", "nudenet": "enforce"},
    )
    assert one.sha256 == other.sha256
    assert json.dumps(one.content()) == json.dumps(other.content())


def test_a_policy_can_t_be_changed_after_it_was_made() -> None:
    thresholds = {"ANUS_EXPOSED": 0.25}
    one = replace(policy(), nudenet=NudeNetPolicy(thresholds))
    thresholds["ANUS_EXPOSED"] = 0.9
    assert one.nudenet.unsafe_thresholds["ANUS_EXPOSED"] == 0.25
    for mapping in (one.nudenet.unsafe_thresholds, one.modes, one.thresholds, one.taxonomy.secondaries):
        with pytest.raises(TypeError):
            mapping["ANUS_EXPOSED"] = 0.9  # type: ignore[index]
