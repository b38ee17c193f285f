"""The fields of a row that are compared, and what is kept of a row to compare them."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from functools import lru_cache
from typing import Any

import msgspec

from streamapp.errors import StreamappError
from streamapp.reasons import Status

PREFIXES = ("NN", "MFD", "CLIP", "COOP")
MODERATING = ("NN", "MFD", "CLIP")
VERDICT = "TO_BE_MODERATED"
UNSAFE = "NN_UNSAFE_SCORES"

# Snowflake's own format of a TIMESTAMP_TZ: 2022-06-21 02:18:04.776 +0000, or Z for UTC.
_BLANK_BEFORE_ZONE = re.compile(r" (?=(Z|[+-]\d\d:?\d\d)$)")

Value = bool | int | float | tuple[float, ...] | tuple[str, ...] | None


class RowError(StreamappError):
    """A line holds no row that can be compared."""


class Kind(Enum):
    """What a field holds, which decides how it is compared."""

    FLAG = "flag"
    STATUS = "status"
    HIGHEST = "highest score"
    LOWEST = "lowest score"
    CATEGORIES = "categories"
    SECONDS = "seconds"


@dataclass(frozen=True, slots=True)
class Field:
    """A key of the row or of its MODEL_ATTRIBUTES.

    Attributes:
        models: prefixes of those whose work it is; it is compared where one of them is on in both rows.
            Empty: always.
    """

    name: str
    kind: Kind
    models: tuple[str, ...] = ()


FIELDS: tuple[Field, ...] = (
    Field(VERDICT, Kind.FLAG),
    *(Field(f"{prefix}_TO_BE_MODERATED", Kind.FLAG, (prefix,)) for prefix in MODERATING),
    *(Field(f"{prefix}_STATUS", Kind.STATUS) for prefix in PREFIXES),
    *(Field(f"{prefix}_PREDICTION_SUCCESS", Kind.FLAG, (prefix,)) for prefix in PREFIXES),
    Field(UNSAFE, Kind.HIGHEST, ("NN",)),
    Field("NN_SAFE_SCORES", Kind.LOWEST, ("NN",)),
    *(
        Field(f"PREDICTED_{rank}_CATEGORY", Kind.CATEGORIES, ("CLIP", "COOP"))
        for rank in ("PRIMARY", "SECONDARY", "TOP3_PRIMARY", "TOP3_SECONDARY")
    ),
    Field("TOTAL_DURATION", Kind.SECONDS),
    *(Field(f"{prefix}_DURATION", Kind.SECONDS, (prefix,)) for prefix in PREFIXES),
)
_PLACES = {field.name: place for place, field in enumerate(FIELDS)}

EventKey = tuple[str, str, str | datetime | None]


class Facts(msgspec.Struct, frozen=True):
    """What is kept of a row, without its PROVENANCE.

    Attributes:
        event_time: as it is written.
        received: MESSAGE_RECEIVE_TIME; the earliest time there is if the row has none.
        values: of `FIELDS`, in their order; None where the row has no such key.
    """

    uid: str
    url: str
    event_time: str | None
    received: datetime
    values: tuple[Value, ...]

    @property
    def key(self) -> EventKey:
        """By which the rows of one event are found; EVENT_TIME as a time where it is one."""
        return (self.uid, self.url, _moment(self.event_time) or self.event_time)

    def value(self, name: str) -> Value:
        return self.values[_PLACES[name]]

    def flag(self, name: str) -> bool:
        """Whether a flag is there and true."""
        return self.value(name) is True

    def scores(self, name: str) -> tuple[float, ...]:
        """One for each frame; empty where there are none."""
        found = self.value(name)
        return tuple(float(score) for score in found) if isinstance(found, tuple) else ()

    def has_on(self, prefix: str) -> bool:
        """Whether a model is on; a row that does not have its STATUS is of a deployment without it."""
        return self.value(f"{prefix}_STATUS") not in (None, Status.SWITCHED_OFF)


_NEVER = datetime.min.replace(tzinfo=UTC)


def facts_of(row: object) -> Facts:
    """Take what is compared from a decoded line.

    MODEL_ATTRIBUTES may be an object or its JSON text, as some clients of warehouses export it.

    Raises:
        RowError: it is no row, or a value is of the wrong type.
    """
    if not isinstance(row, dict):
        raise RowError(f"holds no object, but {type(row).__name__}")
    for name in ("UID", "IMAGE_URL"):
        if name not in row:
            raise RowError(f"has no {name}")
    found = {**_attributes(row.get("MODEL_ATTRIBUTES")), **row}
    return Facts(
        uid=str(row["UID"]),
        url=str(row["IMAGE_URL"]),
        event_time=None if row.get("EVENT_TIME") is None else str(row["EVENT_TIME"]),
        received=_moment(row.get("MESSAGE_RECEIVE_TIME")) or _NEVER,
        values=tuple(_value(field, found.get(field.name)) for field in FIELDS),
    )


def _attributes(value: object) -> Mapping[str, Any]:
    if isinstance(value, str):
        try:
            value = msgspec.json.decode(value)
        except (ValueError, RecursionError) as exc:
            raise RowError("has MODEL_ATTRIBUTES that are no JSON") from exc
    if not isinstance(value, dict):
        raise RowError("has no MODEL_ATTRIBUTES")
    return value


def _value(field: Field, value: object) -> Value:
    """The value as its kind is compared.

    Raises:
        RowError: it is of another kind.
    """
    if value is None:
        return None
    match field.kind:
        case Kind.FLAG if isinstance(value, bool):
            return value
        case Kind.STATUS if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1000:
            return value
        case Kind.SECONDS if isinstance(value, int | float) and math.isfinite(value):
            return float(value)
        case Kind.HIGHEST | Kind.LOWEST if isinstance(value, str | int | float):
            return _scores(field.name, str(value))
        case Kind.CATEGORIES if isinstance(value, str):
            return _categories(value)
    raise RowError(f"has {field.name} {value!r:.60}, which is no {field.kind.value}")


def _scores(name: str, text: str) -> tuple[float, ...]:
    try:
        scores = tuple(float(part) for part in text.split(",")) if text.strip() else ()
    except ValueError as exc:
        raise RowError(f"has {name} {text!r:.60}, which are no scores") from exc
    if not all(map(math.isfinite, scores)):
        raise RowError(f"has {name} {text!r:.60}, which are no finite scores")
    return scores


# There are few combinations of categories and many rows: equal ones share their memory.
@lru_cache(maxsize=65_536)
def _categories(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _moment(value: object) -> datetime | None:
    """A time as the producer, the worker or a warehouse writes it; UTC where it names no zone."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(_BLANK_BEFORE_ZONE.sub("", value))
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
