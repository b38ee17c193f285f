"""Where a setting's value came from, and how a setting is shown to people."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from streamapp.settings.fields import Settings
from streamapp.settings.variables import PREFIX

MASK = "***"
DEFAULT = "default"
ARGUMENT = "argument"
_LONGEST_VALUE_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a field's value came from.

    Attributes:
        field: of `Settings`.
        place: ``default``, ``env``, the `.env` file's name, or ``argument``.
        variable: the name as it was written; of a default, the name that would set it.
        written: the value as it was written, masked if it is a secret; empty if there is none.
        is_old_name: the variable is one of the old deployment's.
    """

    field: str
    place: str
    variable: str
    written: str
    is_old_name: bool = False

    def __str__(self) -> str:
        return f"{self.place}, old name {self.variable}" if self.is_old_name else self.place

    @property
    def subject(self) -> str:
        """The setting in an error message: ``NudenetMaxCon=0 (.env)``."""
        if self.place == DEFAULT and not self.written:
            return f"{self.variable} (not set)"
        text = self.written
        if len(text) > _LONGEST_VALUE_SHOWN:
            text = text[: _LONGEST_VALUE_SHOWN - 1] + "…"
        return f"{self.variable}={text} ({self.place})"


def variable_name(field: str) -> str:
    """The field's name in the environment: ``STREAMAPP_WEB_PORT``."""
    return PREFIX + field.upper()


def is_secret(field: str) -> bool:
    """Whether the field's value must never be shown."""
    known = Settings.model_fields.get(field)
    return known is not None and known.annotation == SecretStr | None


def is_optional(field: str) -> bool:
    """Whether the field can be without a value."""
    return Settings.model_fields[field].default is None


def show(value: object) -> str:
    """A value as it would be written in `.env`; a secret masked, no value as an empty text."""
    match value:
        case None:
            return ""
        case SecretStr():
            return MASK
        case tuple():
            return ",".join(map(str, value))
        case Path():
            return value.as_posix()
        case float() if value.is_integer():
            return str(int(value))
        case _:
            return str(value)
