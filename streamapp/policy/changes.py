"""What is different between two policies, for a person to read. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from streamapp.policy.values import Policy

Value = str | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that is different.

    Attributes:
        subject: what it is, ``models.mfd.threshold``.
        old, new: None where it is not there; a tuple is a list of names.
    """

    subject: str
    old: Value | None
    new: Value | None

    def __str__(self) -> str:
        if isinstance(self.old, tuple) and isinstance(self.new, tuple):
            return f"{self.subject}: {_between(self.old, self.new)}"
        if self.old is None:
            return f"{self.subject}: added: {_text(self.new)}"
        if self.new is None:
            return f"{self.subject}: removed: {_text(self.old)}"
        return f"{self.subject}: {_text(self.old)} → {_text(self.new)}"


def changes(old: Policy, new: Policy) -> list[Change]:
    """Everything that is different, in the order of the file; empty exactly when the digests are equal."""
    before, after = _entries(old), _entries(new)
    subjects = [*before, *(subject for subject in after if subject not in before)]
    return [
        Change(subject, before.get(subject), after.get(subject))
        for subject in subjects
        if before.get(subject) != after.get(subject)
    ]


def _entries(policy: Policy) -> dict[str, Value]:
    """Each single thing of the policy's content, by what a person would call it.

    Classes go by their names, so that one that is inserted does not change all that follow; their order,
    and that of the secondaries, is an entry of its own.
    """
    content = policy.content()
    taxonomy = content.pop("taxonomy")
    classes, secondaries = taxonomy.pop("classes"), taxonomy.pop("secondaries")
    entries = dict(_flat(content, ""))
    entries |= _flat(taxonomy, "taxonomy.")
    entries["taxonomy.classes"] = tuple(one["name"] for one in classes)
    for one in classes:
        entries |= _flat({key: value for key, value in one.items() if key != "name"}, f"class {one['name']}.")
    entries["taxonomy.secondaries"] = tuple(secondaries)
    return entries | {f"sentence of {name}": sentence for name, sentence in secondaries.items()}


def _flat(content: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Value]]:
    for key, value in content.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif isinstance(value, list):
            yield f"{prefix}{key}", tuple(map(_name, value))
        else:
            yield f"{prefix}{key}", str(value)


def _name(value: Any) -> str:
    """A list's element as one text: a name, or a rule's parts."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_name(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_name, value)) + "]"
    return str(value)


def _between(old: tuple[str, ...], new: tuple[str, ...]) -> str:
    """The names that came and went, or that only the order is another."""
    gone = [f"-{name}" for name in old if name not in new]
    came = [f"+{name}" for name in new if name not in old]
    if gone or came:
        return " ".join(gone + came)
    first = next(name for name, before in zip(new, old, strict=True) if name != before)
    return f"another order, from {first} on"


def _text(value: Value | None) -> str:
    return ", ".join(value) or "none" if isinstance(value, tuple) else str(value)
