"""How far old and new rows agree: pure, over pairs of rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from streamapp.comparison.fields import FIELDS, MODERATING, UNSAFE, VERDICT, Facts, Field, Kind
from streamapp.comparison.matching import Matching
from streamapp.reasons import Status

# Scores have 4 places, and 0.05 is about what decoding and precision move one by.
DEFAULT_TOLERANCE = 0.05
_ROUNDING = 1e-9


@dataclass(slots=True)
class FieldAgreement:
    """Of how many events a field was compared, and how many agree.

    Attributes:
        same_order_count: of categories, those that agree in their order, too.
    """

    field: Field
    event_count: int = 0
    agreed_count: int = 0
    same_order_count: int = 0

    def count(self, old: Facts, new: Facts, tolerance: float) -> bool:
        """Count an event in, and say whether its rows agree in the field."""
        is_agreed = agrees(self.field, old, new, tolerance)
        self.event_count += 1
        self.agreed_count += is_agreed
        self.same_order_count += is_agreed and old.value(self.field.name) == new.value(self.field.name)
        return is_agreed

    @property
    def share(self) -> float | None:
        """In [0, 1]; None where nothing was compared."""
        return self.agreed_count / self.event_count if self.event_count else None


@dataclass(slots=True)
class Confusion:
    """The four ways in which a flag can stand in old and new rows."""

    name: str
    both: int = 0
    old_only: int = 0
    new_only: int = 0
    neither: int = 0

    def add(self, old: bool, new: bool) -> None:
        self.both += old and new
        self.old_only += old and not new
        self.new_only += new and not old
        self.neither += not (old or new)

    @property
    def event_count(self) -> int:
        return self.both + self.old_only + self.new_only + self.neither

    @property
    def kappa(self) -> float | None:
        """Cohen's kappa: agreement beyond chance, 1 where all agree; None where both sides never change.

        Most pictures pass, so that two deployments that flag different ones still agree on most.
        """
        count = self.event_count
        if not count:
            return None
        old, new = (self.both + self.old_only) / count, (self.both + self.new_only) / count
        by_chance = old * new + (1 - old) * (1 - new)
        if by_chance == 1:
            return None
        return ((self.both + self.neither) / count - by_chance) / (1 - by_chance)


@dataclass(frozen=True, slots=True)
class Seconds:
    """A duration's medians over the events."""

    name: str
    old_median_s: float
    new_median_s: float


@dataclass(frozen=True, slots=True)
class Disagreement:
    """An event whose rows differ.

    Attributes:
        names: of the fields that do.
    """

    old: Facts
    new: Facts
    names: tuple[str, ...]

    @property
    def is_of_verdict(self) -> bool:
        return VERDICT in self.names

    @property
    def urgency(self) -> tuple[bool, bool, float]:
        """Sorts first: what would now be missed, then what is newly flagged, then by the scores' distance."""
        distance = abs(highest(self.old) - highest(self.new))
        return (not self.is_of_verdict, not (self.is_of_verdict and self.old.flag(VERDICT)), -distance)


@dataclass(frozen=True, slots=True)
class Comparison:
    """All that there is to say of two files.

    Attributes:
        disagreements: the most urgent first.
    """

    matching: Matching
    tolerance: float
    fields: list[FieldAgreement]
    confusions: list[Confusion]
    seconds: list[Seconds]
    disagreements: list[Disagreement]

    @property
    def event_count(self) -> int:
        return len(self.matching.pairs)

    @property
    def verdict_agreement(self) -> float:
        """The share of events with the same TO_BE_MODERATED, in [0, 1]."""
        share = self.fields[0].share
        return 0.0 if share is None else share

    @property
    def sentence(self) -> str:
        """How many events agree in the verdict, and how many do not in something."""
        count = len(self.disagreements)
        events = "1 event is" if self.event_count == 1 else f"{self.event_count:,} events are"
        differ = "1 differs" if count == 1 else f"{count:,} differ"
        agrees_on = f"{VERDICT} agrees on {self.verdict_agreement:.2%}"
        return f"{events} in both files: {agrees_on}, {differ} in something."


def compare(matching: Matching, tolerance: float = DEFAULT_TOLERANCE) -> Comparison:
    """Compare every field of every pair.

    Args:
        matching: has one pair at least.
        tolerance: by which the highest unsafe and the lowest safe scores may differ.
    """
    agreements = [FieldAgreement(field) for field in FIELDS if field.kind is not Kind.SECONDS]
    confusions = [Confusion(name) for name in (VERDICT, *(f"{p}_TO_BE_MODERATED" for p in MODERATING))]
    flags = {confusion.name: confusion for confusion in confusions}
    disagreements = []
    for old, new in matching.pairs:
        compared = [one for one in agreements if _is_compared(one.field, old, new)]
        names = tuple(one.field.name for one in compared if not one.count(old, new, tolerance))
        if names:
            disagreements.append(Disagreement(old, new, names))
        for name in flags.keys() & {one.field.name for one in compared}:
            flags[name].add(old.flag(name), new.flag(name))
    disagreements.sort(key=lambda one: one.urgency)
    return Comparison(matching, tolerance, agreements, confusions, _seconds(matching.pairs), disagreements)


def agrees(field: Field, old: Facts, new: Facts, tolerance: float) -> bool:
    """Whether a field that both rows have agrees: scores within the tolerance, categories as sets."""
    before, after = old.value(field.name), new.value(field.name)
    if field.kind is Kind.CATEGORIES:
        assert isinstance(before, tuple) and isinstance(after, tuple)
        return set(before) == set(after)
    if field.kind in (Kind.HIGHEST, Kind.LOWEST):
        # Over the frames, for the verdict is, and two deployments need not look at the same frames.
        extreme = max if field.kind is Kind.HIGHEST else min
        scores = old.scores(field.name), new.scores(field.name)
        if not all(scores):
            return not any(scores)
        return abs(extreme(scores[0]) - extreme(scores[1])) <= tolerance + _ROUNDING
    return before == after


def highest(facts: Facts) -> float:
    """The highest unsafe score of a row's frames; 0 where there is none."""
    return max(facts.scores(UNSAFE), default=0.0)


def _is_compared(field: Field, old: Facts, new: Facts) -> bool:
    """Both rows have the field, and its model is on in both, or, for a STATUS, in one of them."""
    if old.value(field.name) is None or new.value(field.name) is None:
        return False
    if field.kind is Kind.STATUS:
        return any(facts.value(field.name) != Status.SWITCHED_OFF for facts in (old, new))
    return not field.models or any(old.has_on(prefix) and new.has_on(prefix) for prefix in field.models)


def _seconds(pairs: Sequence[tuple[Facts, Facts]]) -> list[Seconds]:
    found = []
    for field in FIELDS:
        if field.kind is not Kind.SECONDS:
            continue
        compared = [pair for pair in pairs if _is_compared(field, *pair)]
        if compared:
            medians = [median(_number(pair[side], field.name) for pair in compared) for side in (0, 1)]
            found.append(Seconds(field.name, *medians))
    return found


def _number(facts: Facts, name: str) -> float:
    value = facts.value(name)
    assert isinstance(value, float)
    return value
