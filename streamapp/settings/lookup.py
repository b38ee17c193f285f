"""Finding a field's value in the places, and the names there that mean nothing."""

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from streamapp.settings.fields import Settings
from streamapp.settings.old_names import (
    OLD_NAMES,
    OLD_SETTINGS,
    TIMES,
    OldSetting,
    OldValueError,
    is_service_link,
)
from streamapp.settings.origins import MASK, Origin, is_optional, is_secret, variable_name
from streamapp.settings.variables import ENV_FILE_VARIABLE, ENVIRONMENT, PREFIX, Place, Variable

KNOWN_NAMES = frozenset(map(variable_name, Settings.model_fields)) | {ENV_FILE_VARIABLE}
_OLD_BY_FIELD = {old.field: old for old in OLD_SETTINGS}
_OLD_NAMES_UPPER = frozenset(map(str.upper, OLD_NAMES))


@dataclass(frozen=True, slots=True)
class Found:
    """A field's value as text, or the problem that keeps it from having one."""

    origin: Origin
    text: str
    problem: str | None = None


def find(field: str, places: Sequence[Place]) -> Found | None:
    """The value of the first place that has the field, under its own name before an old one."""
    for index, place in enumerate(places):
        variable = place.get(variable_name(field))
        if variable is not None and _is_set(field, variable):
            return _found_by_own_name(field, place, variable)
        old = _OLD_BY_FIELD.get(field)
        if old is not None and _old_variables(old, [place]):
            return _found_by_old_name(old, places[index:])
    return None


def bad_names(place: Place) -> Iterator[str]:
    """Settings in two spellings, unknown STREAMAPP_… names, and broken lines that hold one."""
    for first, second in place.clashes:
        if first.upper() in KNOWN_NAMES | _OLD_NAMES_UPPER:
            yield f"{first} and {second} ({place.label}): one setting in two spellings; keep one"
    for variable in place:
        if _is_unknown(variable, place):
            yield f"{variable.name} ({place.label}): no such setting; {_nearest(variable.name)}"
    for line, text in place.broken_lines:
        if PREFIX in text.upper():
            yield f"{place.label}, line {line}: can't be read; a line is NAME=value"


def _is_unknown(variable: Variable, place: Place) -> bool:
    name = variable.name.upper()
    if not name.startswith(PREFIX) or name in KNOWN_NAMES:
        return False
    return not (place.label == ENVIRONMENT and is_service_link(name, variable.value))


def _nearest(name: str) -> str:
    matches = difflib.get_close_matches(name.upper(), sorted(KNOWN_NAMES), n=1)
    return f"did you mean {matches[0]}?" if matches else "`streamapp settings` lists them all"


def _is_set(field: str, variable: Variable) -> bool:
    return bool(variable.value.strip()) or not is_optional(field)


def _found_by_own_name(field: str, place: Place, variable: Variable) -> Found:
    if is_secret(field):
        return Found(Origin(field, place.label, variable.name, MASK), variable.value)
    text = variable.value.strip()
    origin = Origin(field, place.label, variable.name, text)
    return Found(origin, text, _problem_of_empty(origin))


def _found_by_old_name(old: OldSetting, places: Sequence[Place]) -> Found:
    """Read the old names; where one is in the first place, other factors may stand in a later one."""
    variables = _old_variables(old, places)
    origin = Origin(
        old.field,
        places[0].label,
        TIMES.join(variable.name for variable in variables.values()),
        TIMES.join(variable.value.strip() for variable in variables.values()),
        is_old_name=True,
    )
    try:
        text = old.read({name: variable.value.strip() for name, variable in variables.items()})
    except OldValueError as exc:
        bad = variables[exc.name]
        return Found(origin, "", f"{bad.name}={bad.value} ({places[0].label}): {exc}")
    return Found(origin, text, _problem_of_empty(origin))


def _old_variables(old: OldSetting, places: Sequence[Place]) -> dict[str, Variable]:
    """Old name → its variable in the first of the places that has it."""
    variables: dict[str, Variable] = {}
    for name in old.names:
        for place in places:
            variable = place.get(name)
            if variable is not None and _is_set(old.field, variable):
                variables.setdefault(name, variable)
    return variables


def _problem_of_empty(origin: Origin) -> str | None:
    """An empty list is a value; an empty path would be the current folder, and an empty name an accident."""
    if origin.written or isinstance(Settings.model_fields[origin.field].default, tuple):
        return None
    return f"{origin.subject}: is empty; give it a value or remove it"
