"""The taxonomy: CoOp's classes, their primary and secondary categories, and the rules between those.

A `Taxonomy` is consistent once it is made: every name that it mentions is defined in it.
"""

import difflib
from collections.abc import Collection, Iterator, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Annotated, Any, NamedTuple, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

# Names are joined by ", " in the row, so that none may have a comma.
_NAME = r"^[^,\s]+( [^,\s]+)*$"
_SENTENCE = r"^\S(.*\S)?$"
_WORD = r"^\S+$"
Name = Annotated[str, Field(pattern=_NAME, max_length=64)]
Sentence = Annotated[str, Field(pattern=_SENTENCE, max_length=200)]
Word = Annotated[str, Field(pattern=_WORD, max_length=64)]

PATTERNS = {
    _NAME: "must be a name: words without commas, one space between them",
    _SENTENCE: "must be one line of text",
    _WORD: "must be one word",
}
"""What each pattern asks for, in words."""

Sentences = Annotated[
    Mapping[Name, Sentence],
    Field(min_length=1),
    AfterValidator(lambda sentences: MappingProxyType(dict(sentences))),
    PlainSerializer(dict, return_type=dict[str, str]),
]


class Part(BaseModel):
    """A part of the policy's file: frozen, and without keys that nobody reads."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


class TaxonomyClass(Part):
    """One output of CoOp."""

    name: Name
    """The class name that CoOp's prompts were trained with."""
    primary: Name
    """The primary category of the row; several classes may share one."""
    prompt: Sentence
    """What zero-shot CoOp encodes when there are no trained prompts."""
    secondaries: tuple[Name, ...]
    """Secondary categories among which CLIP chooses when this class is collected."""


class ExtraCandidate(Part):
    """A secondary that is looked for besides those of the collected classes."""

    secondary: Name
    primary: Name
    """The primary that it stands for when it is found by this rule."""


class ExtraCandidates(Part):
    """A primary that brings secondaries of others with it."""

    with_primary: Name
    add: tuple[ExtraCandidate, ...] = Field(min_length=1)


class SecondaryRename(Part):
    """A chosen secondary that has another name beside a chosen primary."""

    with_primary: Name
    secondary: Name
    becomes: Name


class AddedPrimary(Part):
    """A chosen secondary that adds a primary."""

    with_secondary: Name
    primary: Name


class Taxonomy(Part):
    """All categories, and the data of the rules in `streamapp.policy.categories`."""

    min_class_probability: float = Field(ge=0, lt=1)
    """A class counts in a frame when its probability is above this."""
    moderated_primaries: tuple[Name, ...]
    """CLIP_TO_BE_MODERATED is true when one of these is chosen."""
    extra_candidates: tuple[ExtraCandidates, ...] = ()
    """Secondaries that are looked for as well when a primary is among the collected classes."""
    secondary_renames: tuple[SecondaryRename, ...] = ()
    """Secondaries that change their name beside a primary."""
    added_primaries: tuple[AddedPrimary, ...] = ()
    """Primaries that come with a secondary."""
    classes: tuple[TaxonomyClass, ...] = Field(min_length=1)
    """CoOp's classes, in the order of its outputs."""
    secondaries: Sentences
    """Every secondary → the sentence that CLIP compares a picture with; in the order of CLIP's outputs."""

    @model_validator(mode="after")
    def _refuse_dangling_names(self) -> Self:
        errors = [
            InitErrorDetails(
                type=PydanticCustomError("taxonomy", "{reason}", {"reason": problem.reason}),
                loc=problem.location,
                input=problem.found,
            )
            for problem in _problems(self)
        ]
        if errors:
            raise ValidationError.from_exception_data("Taxonomy", errors)
        return self

    @cached_property
    def primaries(self) -> tuple[str, ...]:
        """Every primary category once, in the order of the classes."""
        return tuple(dict.fromkeys(one.primary for one in self.classes))

    @cached_property
    def secondary_indices(self) -> Mapping[str, int]:
        """Secondary → its place among CLIP's outputs."""
        return {name: index for index, name in enumerate(self.secondaries)}

    @cached_property
    def home_primaries(self) -> Mapping[str, str]:
        """Secondary → its primary where no class was found: of the class of its name, else of the first."""
        homes = {one.name: one.primary for one in self.classes if one.name in one.secondaries}
        for one in self.classes:
            for secondary in one.secondaries:
                homes.setdefault(secondary, one.primary)
        for rule in self.extra_candidates:
            for extra in rule.add:
                homes.setdefault(extra.secondary, extra.primary)
        return homes

    def content(self) -> dict[str, Any]:
        """The taxonomy in the shape of the file, keys in a fixed order."""
        return self.model_dump(mode="json")


class _Problem(NamedTuple):
    location: tuple[str | int, ...]
    found: str
    reason: str


def _problems(taxonomy: Taxonomy) -> Iterator[_Problem]:
    """Every name that is mentioned twice, or is mentioned and not defined, or defined and not mentioned."""
    primaries, secondaries = taxonomy.primaries, taxonomy.secondaries
    yield from _repeated(("classes",), [one.name for one in taxonomy.classes], "name")
    for index, one in enumerate(taxonomy.classes):
        location = ("classes", index, "secondaries")
        yield from _repeated(location, one.secondaries)
        for place, name in enumerate(one.secondaries):
            yield from _unknown((*location, place), name, secondaries, "secondary")
    yield from _repeated(("moderated_primaries",), taxonomy.moderated_primaries)
    for index, name in enumerate(taxonomy.moderated_primaries):
        yield from _unknown(("moderated_primaries", index), name, primaries, "primary")
    yield from _rule_problems(taxonomy)
    used = {name for one in taxonomy.classes for name in one.secondaries}
    used |= {extra.secondary for rule in taxonomy.extra_candidates for extra in rule.add}
    used |= {rename.becomes for rename in taxonomy.secondary_renames}
    for name in secondaries:
        if name not in used:
            yield _Problem(("secondaries", name), name, "belongs to no class")


def _rule_problems(taxonomy: Taxonomy) -> Iterator[_Problem]:
    primaries, secondaries = taxonomy.primaries, taxonomy.secondaries
    yield from _repeated_rules(taxonomy)
    for index, extra_rule in enumerate(taxonomy.extra_candidates):
        at: tuple[str | int, ...] = ("extra_candidates", index)
        yield from _unknown((*at, "with_primary"), extra_rule.with_primary, primaries, "primary")
        for place, extra in enumerate(extra_rule.add):
            yield from _unknown((*at, "add", place, "secondary"), extra.secondary, secondaries, "secondary")
            yield from _unknown((*at, "add", place, "primary"), extra.primary, primaries, "primary")
    for index, rename in enumerate(taxonomy.secondary_renames):
        at = ("secondary_renames", index)
        yield from _unknown((*at, "with_primary"), rename.with_primary, primaries, "primary")
        yield from _unknown((*at, "secondary"), rename.secondary, secondaries, "secondary")
        yield from _unknown((*at, "becomes"), rename.becomes, secondaries, "secondary")
    for index, added in enumerate(taxonomy.added_primaries):
        at = ("added_primaries", index)
        yield from _unknown((*at, "with_secondary"), added.with_secondary, secondaries, "secondary")
        yield from _unknown((*at, "primary"), added.primary, primaries, "primary")


def _repeated_rules(taxonomy: Taxonomy) -> Iterator[_Problem]:
    """Rules that stand there twice; of two renames of one secondary only the second would count."""
    extras = taxonomy.extra_candidates
    yield from _repeated(("extra_candidates",), [rule.with_primary for rule in extras], "with_primary")
    for index, rule in enumerate(extras):
        names = [extra.secondary for extra in rule.add]
        yield from _repeated(("extra_candidates", index, "add"), names, "secondary")
    renamed = [f"{rule.secondary} beside {rule.with_primary}" for rule in taxonomy.secondary_renames]
    yield from _repeated(("secondary_renames",), renamed, "secondary")
    added = [f"{rule.primary} with {rule.with_secondary}" for rule in taxonomy.added_primaries]
    yield from _repeated(("added_primaries",), added, "primary")


def _repeated(location: tuple[str | int, ...], names: Collection[str], *key: str) -> Iterator[_Problem]:
    seen: set[str] = set()
    for index, name in enumerate(names):
        if name in seen:
            yield _Problem((*location, index, *key), name, f"{name} is there already")
        seen.add(name)


def _unknown(
    location: tuple[str | int, ...], name: str, known: Collection[str], noun: str
) -> Iterator[_Problem]:
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        yield _Problem(location, name, f"there is no {noun} {name}{hint}")
