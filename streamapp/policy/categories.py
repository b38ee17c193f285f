"""From what CoOp and CLIP say of a picture's frames to its categories. Pure; each rule is a function.

The rules are those of the deployment that streamapp replaces, so that analysts can compare the rows.
Ties go to what comes first in the taxonomy, and the order of the frames means nothing.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt

from streamapp.errors import ModelError
from streamapp.policy.taxonomy import Taxonomy, TaxonomyClass
from streamapp.reasons import Reason

Scores = npt.NDArray[np.floating]
Matrix = npt.NDArray[np.float64]

CLASSES_PER_FRAME = 3
MAX_PRIMARIES = 3  # classes are collected until they have as many primaries
MAX_FALLBACK_CLASSES = 2
MAX_CHOSEN = 2  # classes, or secondaries where no class has one


@dataclass(frozen=True, slots=True)
class Categories:
    """A picture's categories, best first, none twice.

    Attributes:
        primary, secondary: the chosen ones.
        top3_primary, top3_secondary: the chosen ones, then the next best secondary and its primary.
        is_moderated: a chosen primary is one that a person must look at.
    """

    primary: tuple[str, ...]
    secondary: tuple[str, ...]
    top3_primary: tuple[str, ...]
    top3_secondary: tuple[str, ...]
    is_moderated: bool


def categorise(
    taxonomy: Taxonomy, coop: Sequence[Scores] | None, clip: Sequence[Scores] | None
) -> Categories:
    """Choose the categories of one picture.

    1. Collect classes from CoOp's probabilities. 2. Look which secondaries they bring. 3. Rank those by
    CLIP. 4. Choose. 5. Rename and add as the taxonomy says. 6. Add the next best for the TOP3 fields.

    Where one of the two is switched off or failed, the other does what it can: without CoOp every
    secondary is a candidate and the best two are chosen with their home primaries; without CLIP the
    primaries are those of CoOp's best classes, and there are no secondaries, for nothing looked for them.

    Args:
        coop: for each key frame ``(classes,)``, probabilities that sum to 1; None: CoOp has no finding.
        clip: for each key frame ``(secondaries,)``, logits of every sentence; None: CLIP has no finding.

    Raises:
        ModelError: a number is not finite.
        ValueError: an array has not the taxonomy's size, or there is no frame or neither finding.
    """
    if coop is None and clip is None:
        raise ValueError("There are findings neither of CoOp nor of CLIP. This is a bug.")
    # 1.
    classes: Sequence[TaxonomyClass] = ()
    if coop is not None:
        classes = collect_classes(taxonomy, _stacked(coop, len(taxonomy.classes), "CoOp"))
    # 2.
    candidates = taxonomy.home_primaries if coop is None else candidate_primaries(taxonomy, classes)
    # 3.
    ranked: Sequence[str] = ()
    if clip is not None:
        ranked = rank(taxonomy, candidates, _stacked(clip, len(taxonomy.secondaries), "CLIP"))
    # 4.
    primaries, found = choose(classes, candidates, ranked)
    # 5.
    secondaries = rename_secondaries(taxonomy, primaries, found)
    primaries = add_primaries(taxonomy, primaries, secondaries)
    # 6.
    top3_secondaries = with_next_best(secondaries, found, ranked)
    following = [candidates[name] for name in top3_secondaries[len(secondaries) :]]
    if clip is None:
        following = [one.primary for one in classes]
    return Categories(
        primary=primaries,
        secondary=secondaries,
        top3_primary=_unique((*primaries, *following)),
        top3_secondary=top3_secondaries,
        is_moderated=is_moderated(taxonomy, primaries),
    )


def collect_classes(taxonomy: Taxonomy, probabilities: Matrix) -> tuple[TaxonomyClass, ...]:
    """The picture's classes, best first: those that are likely in a frame, or else the most frequent ones.

    Args:
        probabilities: ``(frames, classes)``.
    """
    likely = likely_classes(probabilities, taxonomy.min_class_probability)
    if not likely:
        return tuple(taxonomy.classes[index] for index in most_often_best(probabilities))
    return tuple(until_three_primaries(taxonomy.classes[index] for index in likely))


def likely_classes(probabilities: Matrix, min_probability: float) -> list[int]:
    """Each frame's best 3 classes that are above the minimum, ordered by the sum of their probabilities."""
    counted = np.zeros_like(probabilities)
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, :CLASSES_PER_FRAME]
    np.put_along_axis(counted, best, np.take_along_axis(probabilities, best, axis=1), axis=1)
    counted[counted <= min_probability] = 0.0
    totals = _sum_of_frames(counted)
    return [int(index) for index in np.argsort(-totals, kind="stable") if totals[index] > 0.0]


def most_often_best(probabilities: Matrix) -> list[int]:
    """The classes that are most often a frame's best, at most 2."""
    counts = Counter(int(index) for index in probabilities.argmax(axis=1))
    return sorted(counts, key=lambda index: (-counts[index], index))[:MAX_FALLBACK_CLASSES]


def until_three_primaries(classes: Iterable[TaxonomyClass]) -> Iterator[TaxonomyClass]:
    """The classes up to the one that brings the third different primary."""
    primaries: set[str] = set()
    for one in classes:
        primaries.add(one.primary)
        yield one
        if len(primaries) == MAX_PRIMARIES:
            return


def candidate_primaries(taxonomy: Taxonomy, classes: Sequence[TaxonomyClass]) -> dict[str, str]:
    """The secondaries of the collected classes, and those that the classes' primaries bring with them.

    Returns:
        Secondary → the primary that it stands for: that of the best class that has it.
    """
    candidates: dict[str, str] = {}
    for one in classes:
        for secondary in one.secondaries:
            candidates.setdefault(secondary, one.primary)
    collected = {one.primary for one in classes}
    for rule in taxonomy.extra_candidates:
        for extra in rule.add if rule.with_primary in collected else ():
            candidates.setdefault(extra.secondary, extra.primary)
    return candidates


def rank(taxonomy: Taxonomy, candidates: Iterable[str], logits: Matrix) -> list[str]:
    """The candidates by the softmax over them, summed over the frames; best first.

    Args:
        logits: ``(frames, secondaries)``, of all secondaries.
    """
    names = sorted(candidates, key=taxonomy.secondary_indices.__getitem__)
    if not names:
        return []
    of_candidates = logits[:, [taxonomy.secondary_indices[name] for name in names]]
    weights = np.exp(of_candidates - of_candidates.max(axis=1, keepdims=True))
    totals = _sum_of_frames(weights / weights.sum(axis=1, keepdims=True))
    return [names[index] for index in np.argsort(-totals, kind="stable")]


def choose(
    classes: Sequence[TaxonomyClass], candidates: Mapping[str, str], ranked: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The best 2 classes' primaries and best secondaries; the best 2 secondaries where no class has one.

    Args:
        candidates: secondary → the primary that it stands for.
        ranked: the candidates, best first; empty without CLIP.

    Returns:
        Primaries, secondaries.
    """
    best = classes[:MAX_CHOSEN]
    found = [next((name for name in ranked if name in one.secondaries), None) for one in best]
    secondaries = _unique(name for name in found if name is not None)
    if secondaries or not ranked:
        return _unique(one.primary for one in best), secondaries
    secondaries = tuple(ranked[:MAX_CHOSEN])
    return _unique(candidates[name] for name in secondaries), secondaries


def rename_secondaries(
    taxonomy: Taxonomy, primaries: Sequence[str], secondaries: Sequence[str]
) -> tuple[str, ...]:
    """The secondaries by the names that they have beside these primaries: music's performance."""
    names = {
        rule.secondary: rule.becomes for rule in taxonomy.secondary_renames if rule.with_primary in primaries
    }
    return _unique(names.get(name, name) for name in secondaries)


def add_primaries(
    taxonomy: Taxonomy, primaries: Sequence[str], secondaries: Sequence[str]
) -> tuple[str, ...]:
    """The primaries, and those that come with these secondaries: patriotic's national-asset."""
    added = [rule.primary for rule in taxonomy.added_primaries if rule.with_secondary in secondaries]
    return _unique((*primaries, *added))


def with_next_best(
    secondaries: Sequence[str], found: Sequence[str], ranked: Sequence[str]
) -> tuple[str, ...]:
    """The chosen secondaries and the next best one.

    Args:
        found: the chosen ones by their names before `rename_secondaries`, which are not next best either.
    """
    others = (name for name in ranked if name not in secondaries and name not in found)
    return (*secondaries, *islice(others, 1))


def is_moderated(taxonomy: Taxonomy, primaries: Iterable[str]) -> bool:
    """CLIP_TO_BE_MODERATED: a chosen primary is one that a person must look at."""
    return not set(taxonomy.moderated_primaries).isdisjoint(primaries)


def _stacked(frames: Sequence[Scores], width: int, model: str) -> Matrix:
    matrix = np.array(frames, np.float64)
    if matrix.ndim != 2 or matrix.shape[0] == 0 or matrix.shape[1] != width:
        raise ValueError(
            f"{model}'s findings are {matrix.shape}, expected (frames, {width}) as in the taxonomy."
        )
    if not np.isfinite(matrix).all():
        raise ModelError(Reason.MODEL_NOT_FINITE, f"{model}'s scores are not finite.")
    return matrix


def _sum_of_frames(matrix: Matrix) -> Matrix:
    # Sorted, so that the order of the frames can't change the last bit of a sum, and with it a tie.
    total: Matrix = np.sort(matrix, axis=0).sum(axis=0)
    return total


def _unique(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
