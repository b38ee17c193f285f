"""What a person reads of two policies that differ."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamapp.policy import NudeNetPolicy, Policy, load_policy
from streamapp.policy.changes import changes

POLICY = load_policy()


def with_taxonomy(**parts: Any) -> Policy:
    content = POLICY.taxonomy.content() | parts
    return replace(POLICY, taxonomy=type(POLICY.taxonomy).model_validate(content))


def told(new: Policy) -> list[str]:
    return [str(change) for change in changes(POLICY, new)]


def test_a_policy_is_not_different_from_itself() -> None:
    assert told(load_policy()) == []


def test_values_are_told_as_old_and_new() -> None:
    unsafe = {**POLICY.nudenet.unsafe_thresholds, "ANUS_EXPOSED": 0.3}
    new = replace(
        POLICY,
        version="3",
        nudenet=NudeNetPolicy(unsafe),
        modes={**POLICY.modes, "mfd": "shadow"},
        thresholds={"mfd": 0.6},
    )
    assert told(new) == [
        "version: 2026-11-22.2 → 3",
        "models.mfd.mode: enforce → shadow",
        "models.mfd.threshold: 0.5 → 0.6",
        "models.nudenet.unsafe_thresholds.ANUS_EXPOSED: 0.25 → 0.3",
    ]


def test_what_came_and_went_is_told() -> None:
    unsafe = dict(POLICY.nudenet.unsafe_thresholds)
    del unsafe["ANUS_EXPOSED"]
    new = replace(POLICY, nudenet=NudeNetPolicy(unsafe), modes={**POLICY.modes, "blur": "shadow"})
    assert sorted(told(new)) == [
        "models.blur.mode: added: shadow",
        "models.nudenet.unsafe_thresholds.ANUS_EXPOSED: removed: 0.25",
    ]


def test_names_that_came_and_went_are_told_by_list() -> None:
    new = with_taxonomy(
        moderated_primaries=["violence", "national-asset", "news", "harmful-acts", "politics"]
    )
    assert told(new) == ["taxonomy.moderated_primaries: -problematic-content +news"]


def test_a_class_is_told_by_its_name_wherever_it_stands() -> None:
    classes = POLICY.taxonomy.content()["classes"]
    plant = {"name": "plants", "primary": "nature", "prompt": "a photo of a plant.", "secondaries": ["birds"]}
    assert told(with_taxonomy(classes=[plant, *classes])) == [
        "taxonomy.classes: +plants",
        "class plants.primary: added: nature",
        "class plants.prompt: added: a photo of a plant.",
        "class plants.secondaries: added: birds",
    ]


def test_a_class_that_moved_is_told_as_another_order() -> None:
    classes = POLICY.taxonomy.content()["classes"]
    classes[1], classes[2] = classes[2], classes[1]
    assert told(with_taxonomy(classes=classes)) == ["taxonomy.classes: another order, from devotional on"]


def test_sentences_in_another_order_are_told() -> None:
    turned = dict(reversed(POLICY.taxonomy.content()["secondaries"].items()))
    assert told(with_taxonomy(secondaries=turned)) == [
        "taxonomy.secondaries: another order, from music-celebrities on"
    ]


def test_a_sentence_is_told_by_its_secondary() -> None:
    sentences = POLICY.taxonomy.content()["secondaries"] | {"birds": "a photo of a bird."}
    assert told(with_taxonomy(secondaries=sentences)) == [
        "sentence of birds: a photo of a bird with feathers, a beak and wings. → a photo of a bird."
    ]


def test_a_rule_that_went_is_told() -> None:
    assert told(with_taxonomy(added_primaries=[])) == [
        "taxonomy.added_primaries: -{with_secondary: patriotic, primary: national-asset}"
    ]


def paths(content: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where the content's texts and numbers stand."""
    if isinstance(content, dict):
        return [found for key, value in content.items() for found in paths(value, (*path, key))]
    if isinstance(content, list):
        return [found for key, value in enumerate(content) for found in paths(value, (*path, key))]
    return [path]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("policy") / "policy.json"


# Of the texts only those that may be anything: others would need a second change to be consistent.
FREE = [
    path
    for path in paths(POLICY.content())
    if path[-1] in ("version", "prompt", "min_class_probability", "threshold")
    or path[1:2] == ("secondaries",)
    or "unsafe_thresholds" in path
]


@given(st.sampled_from(FREE))
def test_whatever_changes_the_digest_is_told_and_nothing_else_is(file: Path, path: tuple[Any, ...]) -> None:
    content = json.loads(json.dumps(POLICY.content()))
    part = content
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = 0.75 if isinstance(part[path[-1]], float) else "another"
    file.write_text(json.dumps(content))
    new = load_policy(file)

    assert new.sha256 != POLICY.sha256
    assert len(changes(POLICY, new)) == 1
