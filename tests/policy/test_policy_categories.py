"""The rules of the categories, each by its name; then what holds for any scores."""

import math
from collections.abc import Sequence
from random import Random

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from taxonomies import Scores, clip_frame, coop_frame, taxonomy_of

from streamapp.errors import ModelError
from streamapp.policy import Categories, Taxonomy, categorise, load_policy
from streamapp.policy.categories import candidate_primaries, collect_classes, rank
from streamapp.reasons import Reason

AnyScores = npt.NDArray[np.floating]
REAL = load_policy().taxonomy
ABCDE = taxonomy_of({name: (name.upper(), [f"{name}1", f"{name}2"]) for name in "abcde"})


def collected(taxonomy: Taxonomy, *frames: AnyScores) -> list[str]:
    return [one.name for one in collect_classes(taxonomy, np.array(frames, np.float64))]


def ranked(taxonomy: Taxonomy, candidates: Sequence[str], *frames: Scores) -> list[str]:
    return rank(taxonomy, candidates, np.array(frames, np.float64))


# Collecting classes


def test_a_frame_counts_with_its_best_3_classes() -> None:
    frames = [coop_frame(ABCDE, a=0.4, b=0.3, c=0.1, d=0.09), coop_frame(ABCDE, d=0.25)]
    # d's 0.09 of the first frame does not count: with it d would come before b.
    assert collected(ABCDE, *frames) == ["a", "b", "d"]


def test_a_class_counts_only_above_the_minimum_probability() -> None:
    assert collected(ABCDE, coop_frame(ABCDE, a=0.4, b=0.051)) == ["a", "b"]
    assert collected(ABCDE, coop_frame(ABCDE, a=0.4, b=0.049)) == ["a"]


def test_the_minimum_probability_is_the_taxonomy_s() -> None:
    taxonomy = ABCDE.model_copy(update={"min_class_probability": 0.5})
    assert collected(taxonomy, coop_frame(taxonomy, a=0.51, b=0.49)) == ["a"]


def test_probabilities_are_summed_over_the_frames() -> None:
    frames = [coop_frame(ABCDE, a=0.6, b=0.3), coop_frame(ABCDE, b=0.4)]
    assert collected(ABCDE, *frames) == ["b", "a"]


def test_classes_are_collected_until_there_are_3_primaries() -> None:
    taxonomy = taxonomy_of({"a": ("X", ["s"]), "b": ("X", ["s"]), "c": ("Y", ["s"]), "d": ("Z", ["s"])})
    frames = [coop_frame(taxonomy, a=0.4, b=0.3, c=0.2), coop_frame(taxonomy, d=0.1)]
    assert collected(taxonomy, *frames) == ["a", "b", "c", "d"]


def test_no_class_is_collected_after_the_third_primary() -> None:
    frames = [coop_frame(ABCDE, a=0.5, b=0.4, c=0.1), coop_frame(ABCDE, d=0.09)]
    assert collected(ABCDE, *frames) == ["a", "b", "c"]


def test_where_no_class_is_likely_the_two_that_are_most_often_best_are_taken() -> None:
    frames = [coop_frame(ABCDE, c=0.04), coop_frame(ABCDE, c=0.04), coop_frame(ABCDE, e=0.04)]
    assert collected(ABCDE, *frames, coop_frame(ABCDE, e=0.04), coop_frame(ABCDE, a=0.049)) == ["c", "e"]


def test_where_no_class_is_likely_in_one_frame_its_best_is_the_only_one() -> None:
    assert collected(ABCDE, coop_frame(ABCDE, d=0.03, a=0.02)) == ["d"]


def test_equally_likely_classes_are_in_the_order_of_the_taxonomy() -> None:
    assert collected(ABCDE, coop_frame(ABCDE, e=0.2, b=0.2, d=0.2)) == ["b", "d", "e"]


def test_the_same_probabilities_in_another_order_are_a_tie() -> None:
    # Added up in the frames' order, b would have 0.6000000000000001 and a 0.6.
    frames = [np.array(pair) for pair in ((0.3, 0.1), (0.2, 0.2), (0.1, 0.3))]
    assert collected(taxonomy_of({"a": ("A", ["s"]), "b": ("B", ["s"])}), *frames) == ["a", "b"]


# Candidates


def candidates_of(*names: str) -> dict[str, str]:
    return candidate_primaries(REAL, [one for one in REAL.classes if one.name in names])


def test_the_candidates_are_the_secondaries_of_the_collected_classes() -> None:
    assert candidates_of("family-and-friends", "beach") == {
        "kids": "family-and-friends",
        "friends": "family-and-friends",
        "family": "family-and-friends",
        "beach": "travel",
    }


def test_selfies_brings_make_up_and_fashion() -> None:
    assert candidates_of("selfies") == {
        "selfie": "selfies",
        "make-up": "beauty-and-grooming",
        "fashion": "life-style",
    }


@pytest.mark.parametrize("name", ["shopping", "home decoration", "fashion"])
def test_life_style_brings_party(name: str) -> None:
    assert candidates_of(name)["party"] == "entertainment"


def test_the_life_style_that_selfies_brings_does_not_bring_party() -> None:
    assert "party" not in candidates_of("selfies")


def test_a_secondary_of_two_classes_stands_for_the_better_one() -> None:
    entertainment, music = REAL.classes[4], REAL.classes[6]
    assert candidate_primaries(REAL, [music, entertainment])["singing"] == "music"
    assert candidate_primaries(REAL, [entertainment, music])["singing"] == "entertainment"


# Ranking


def test_the_softmax_is_over_the_candidates_alone() -> None:
    # Over all sentences c1 would take the first frame's whole weight, and a2 would win by the second.
    frames = [clip_frame(ABCDE, c1=50, a1=10), clip_frame(ABCDE, a2=1)]
    assert ranked(ABCDE, ["a1", "a2"], *frames) == ["a1", "a2"]


def test_the_softmax_is_summed_over_the_frames() -> None:
    # As a sum of logits a1 would win.
    frames = [clip_frame(ABCDE, a1=40), clip_frame(ABCDE, a2=5), clip_frame(ABCDE, a2=5)]
    assert ranked(ABCDE, ["a1", "a2"], *frames) == ["a2", "a1"]


def test_equal_secondaries_are_in_the_order_of_the_taxonomy() -> None:
    assert ranked(ABCDE, ["b1", "a2", "a1"], clip_frame(ABCDE)) == ["a1", "a2", "b1"]


def test_logits_that_are_large_do_not_overflow() -> None:
    assert ranked(ABCDE, ["a1", "b1"], clip_frame(ABCDE, a1=-1e5, b1=1e5)) == ["b1", "a1"]


# Choosing


def test_each_of_the_best_2_classes_has_its_best_secondary() -> None:
    found = categorise(
        ABCDE,
        [coop_frame(ABCDE, b=0.5, a=0.3, c=0.1)],
        [clip_frame(ABCDE, c1=9, a2=3, a1=2, b1=1, b2=2)],
    )
    assert (found.primary, found.secondary) == (("B", "A"), ("b2", "a2"))


def test_where_no_class_has_a_secondary_the_best_2_secondaries_and_their_primaries_are_taken() -> None:
    taxonomy = taxonomy_of({"a": ("A", []), "b": ("B", []), "c": ("C", ["c1", "c2"]), "d": ("D", ["d1"])})
    found = categorise(
        taxonomy,
        [coop_frame(taxonomy, a=0.4, b=0.3, c=0.2)],
        [clip_frame(taxonomy, c1=1, c2=2, d1=3)],
    )
    assert (found.primary, found.secondary) == (("C",), ("c2", "c1"))


def test_a_class_without_a_secondary_keeps_its_primary_beside_one_that_has_one() -> None:
    taxonomy = taxonomy_of({"a": ("A", []), "b": ("B", ["b1"])})
    found = categorise(taxonomy, [coop_frame(taxonomy, a=0.5, b=0.3)], [clip_frame(taxonomy)])
    assert (found.primary, found.secondary) == (("A", "B"), ("b1",))


def test_where_there_is_no_candidate_at_all_the_classes_keep_their_primaries() -> None:
    taxonomy = taxonomy_of({"a": ("A", []), "b": ("B", ["b1"])})
    found = categorise(taxonomy, [coop_frame(taxonomy, a=0.5)], [clip_frame(taxonomy, b1=3)])
    assert found == Categories(("A",), (), ("A",), (), False)


def test_two_classes_of_one_primary_name_it_once() -> None:
    found = categorise(REAL, [coop_frame(REAL, beach=0.5, nature=0.3)], [clip_frame(REAL)])
    assert (found.primary, found.secondary) == (("travel",), ("beach", "nature"))


def test_two_classes_with_the_same_best_secondary_name_it_once() -> None:
    found = categorise(
        REAL, [coop_frame(REAL, recipe=0.5, street_food=0.3)], [clip_frame(REAL, food_items=9, recipe=3)]
    )
    assert (found.primary, found.secondary) == (("food",), ("food-items",))
    assert found.top3_secondary == ("food-items", "recipe")


# Names between primaries and secondaries


def test_performance_beside_music_is_music_performance() -> None:
    found = categorise(
        REAL,
        [coop_frame(REAL, entertainment=0.5, music_and_singing=0.3)],
        [clip_frame(REAL, performance=9, singing=5)],
    )
    assert found.primary == ("entertainment", "music")
    assert found.secondary == ("music-performance", "singing")


def test_performance_without_music_is_performance() -> None:
    found = categorise(REAL, [coop_frame(REAL, entertainment=0.5)], [clip_frame(REAL, performance=9)])
    assert found.secondary == ("performance",)


def test_performance_that_became_music_performance_is_not_named_twice_nor_next_best() -> None:
    found = categorise(
        REAL,
        [coop_frame(REAL, entertainment=0.5, music_and_singing=0.3)],
        [clip_frame(REAL, performance=9, music_performance=8, party=7)],
    )
    assert found.secondary == ("music-performance",)
    assert found.top3_secondary == ("music-performance", "party")


def test_what_performance_became_is_not_next_best_either() -> None:
    found = categorise(
        REAL,
        [coop_frame(REAL, entertainment=0.5, music_and_singing=0.3)],
        [clip_frame(REAL, performance=9, singing=8, music_performance=7, party=6)],
    )
    assert found.top3_secondary == ("music-performance", "singing", "party")


def test_patriotic_adds_national_asset_and_is_moderated() -> None:
    found = categorise(REAL, [coop_frame(REAL, entertainment=0.5)], [clip_frame(REAL, patriotic=9)])
    assert (found.primary, found.secondary) == (("entertainment", "national-asset"), ("patriotic",))
    assert found.is_moderated


def test_patriotic_as_the_next_best_adds_nothing() -> None:
    found = categorise(REAL, [coop_frame(REAL, entertainment=0.5)], [clip_frame(REAL, movie=9, patriotic=8)])
    assert (found.primary, found.top3_primary) == (("entertainment",), ("entertainment",))
    assert found.top3_secondary == ("movie", "patriotic")
    assert not found.is_moderated


# The TOP3 fields


def test_the_top3_fields_add_the_next_best_secondary_and_its_primary() -> None:
    # The row of the old deployment in the design.
    found = categorise(
        REAL,
        [coop_frame(REAL, selfies=0.6, fashion=0.2, beauty_and_grooming=0.1)],
        [clip_frame(REAL, selfie=9, fashion=6, make_up=8, hair=7)],
    )
    assert found == Categories(
        primary=("selfies", "life-style"),
        secondary=("selfie", "fashion"),
        top3_primary=("selfies", "life-style", "beauty-and-grooming"),
        top3_secondary=("selfie", "fashion", "make-up"),
        is_moderated=False,
    )


def test_a_selfie_s_fashion_is_next_best_with_the_primary_that_it_stands_for() -> None:
    found = categorise(REAL, [coop_frame(REAL, selfies=0.9)], [clip_frame(REAL, selfie=5, fashion=4)])
    assert (found.top3_primary, found.top3_secondary) == (("selfies", "life-style"), ("selfie", "fashion"))


def test_a_primary_that_was_chosen_is_not_named_again_in_the_top3() -> None:
    found = categorise(ABCDE, [coop_frame(ABCDE, a=0.5)], [clip_frame(ABCDE, a1=2, a2=1)])
    assert (found.top3_primary, found.top3_secondary) == (("A",), ("a1", "a2"))


# Moderation


@pytest.mark.parametrize(
    ("name", "primary"),
    [
        ("animal_cruelty", "violence"),
        ("national_asset", "national-asset"),
        ("problematic_content", "problematic-content"),
        ("self_harm", "harmful-acts"),
        ("politics", "politics"),
    ],
)
def test_a_chosen_primary_that_is_moderated_moderates(name: str, primary: str) -> None:
    found = categorise(REAL, [coop_frame(REAL, animals=0.5, **{name: 0.3})], [clip_frame(REAL)])
    assert found.primary == ("animals", primary)
    assert found.is_moderated


def test_only_chosen_primaries_moderate() -> None:
    found = categorise(
        REAL, [coop_frame(REAL, animals=0.5, beach=0.3, politics=0.2)], [clip_frame(REAL, politics=9)]
    )
    assert found.top3_primary == ("animals", "travel", "politics")
    assert not found.is_moderated


def test_the_five_primaries_that_are_moderated() -> None:
    assert set(REAL.moderated_primaries) == {
        "violence",
        "national-asset",
        "problematic-content",
        "harmful-acts",
        "politics",
    }


# One of the two is not there


def test_without_clip_the_primaries_are_those_of_the_best_classes_and_there_are_no_secondaries() -> None:
    found = categorise(REAL, [coop_frame(REAL, animals=0.5, politics=0.3, beach=0.2)], None)
    assert found == Categories(("animals", "politics"), (), ("animals", "politics", "travel"), (), True)


def test_without_coop_the_best_2_of_all_secondaries_are_taken_with_their_home_primaries() -> None:
    found = categorise(REAL, None, [clip_frame(REAL, suicide=9, amusement_park=8, fashion=7)])
    assert found == Categories(
        ("harmful-acts", "travel"),
        ("suicide", "amusement-park"),
        ("harmful-acts", "travel", "life-style"),
        ("suicide", "amusement-park", "fashion"),
        True,
    )


def test_without_either_there_is_nothing_to_categorise() -> None:
    with pytest.raises(ValueError, match="This is a bug"):
        categorise(REAL, None, None)


# Findings that can't be used


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_are_refused(number: float) -> None:
    for coop, clip in (([coop_frame(ABCDE, a=number)], None), (None, [clip_frame(ABCDE, a1=number)])):
        with pytest.raises(ModelError) as caught:
            categorise(ABCDE, coop, clip)
        assert caught.value.reason is Reason.MODEL_NOT_FINITE


def test_findings_of_another_taxonomy_are_refused() -> None:
    with pytest.raises(ValueError, match=r"CoOp.*\(frames, 46\)"):
        categorise(REAL, [coop_frame(ABCDE)], None)
    with pytest.raises(ValueError, match=r"CLIP.*\(frames, 139\)"):
        categorise(REAL, None, [clip_frame(ABCDE)])


def test_findings_without_a_frame_are_refused() -> None:
    with pytest.raises(ValueError, match="expected"):
        categorise(REAL, [], None)


# What holds for any scores

LEVELS = st.sampled_from([0.0, 0.01, 0.05, 0.06, 0.1, 0.2, 0.3, 0.7])


@st.composite
def findings(draw: st.DrawFn) -> tuple[list[Scores], list[Scores]]:
    """A few frames; few levels, so that ties are common."""
    seed = draw(st.integers(0, 2**32 - 1))
    levels = np.array(draw(st.lists(LEVELS, min_size=1, max_size=4)))
    random = np.random.default_rng(seed)
    frames = draw(st.integers(1, 4))
    coop = random.choice(levels, (frames, len(REAL.classes))) * random.integers(
        0, 2, (frames, len(REAL.classes))
    )
    clip = random.integers(-3, 4, (frames, len(REAL.secondaries))) / 3
    return list(coop.astype(np.float32)), list(clip.astype(np.float32))


def check(found: Categories) -> None:
    for names in (found.primary, found.secondary, found.top3_primary, found.top3_secondary):
        assert len(set(names)) == len(names)
    assert found.top3_primary[: len(found.primary)] == found.primary
    assert found.top3_secondary[: len(found.secondary)] == found.secondary
    assert len(found.top3_secondary) - len(found.secondary) <= 1
    assert 1 <= len(found.primary) <= 3 and len(found.secondary) <= 2
    assert set(found.top3_primary) <= set(REAL.primaries)
    assert set(found.top3_secondary) <= set(REAL.secondaries)
    assert found.is_moderated == any(name in REAL.moderated_primaries for name in found.primary)


@given(findings())
def test_categories_are_of_the_taxonomy_and_none_is_named_twice(
    scores: tuple[list[Scores], list[Scores]],
) -> None:
    coop, clip = scores
    both = categorise(REAL, coop, clip)
    assert both.secondary
    for found in (both, categorise(REAL, coop, None), categorise(REAL, None, clip)):
        check(found)


@given(findings(), st.randoms(use_true_random=False))
def test_the_order_of_the_frames_means_nothing(
    scores: tuple[list[Scores], list[Scores]], random: Random
) -> None:
    coop, clip = scores
    order = list(range(len(coop)))
    random.shuffle(order)
    shuffled = [coop[i] for i in order], [clip[i] for i in order]
    assert categorise(REAL, *shuffled) == categorise(REAL, coop, clip)


@given(findings(), st.floats(-50, 50))
def test_a_constant_on_all_logits_of_a_frame_means_nothing(
    scores: tuple[list[Scores], list[Scores]], shift: float
) -> None:
    coop, clip = scores
    # Few levels far apart: rounding can't make a tie of what was none.
    moved = [np.round(frame * 3) + round(shift) for frame in clip]
    still = [np.round(frame * 3) for frame in clip]
    assert categorise(REAL, coop, moved) == categorise(REAL, coop, still)


@given(findings())
def test_a_frame_twice_is_the_same_as_once(scores: tuple[list[Scores], list[Scores]]) -> None:
    coop, clip = scores
    once = categorise(REAL, coop[:1], clip[:1])
    assert categorise(REAL, coop[:1] * 2, clip[:1] * 2) == once
