"""The wire: the event that comes in, the row and the dead letter that go out.

Records are msgspec structs, read and written by msgspec's own JSON codec: an event and its row together
take 3 µs, where pydantic takes 5 to 7 and orjson, which checks nothing, 1.6 (`benchmarks/records.py`).
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec

from streamapp.errors import DeadLetterReason, EventError

Headers = list[tuple[str, bytes]]
Decoded = TypeVar("Decoded")

LONGEST_TEXT = 4096


@dataclass(frozen=True, slots=True)
class SourcePosition:
    """Where in Kafka an event stands; printed as ``topic[partition]@offset``."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]@{self.offset}"


@dataclass(frozen=True, slots=True)
class Event:
    """What a ``modify_user`` event says of a picture.

    ``image_url`` is empty where the picture was removed.
    """

    user_id: str
    image_url: str
    username: str | None
    country: str | None
    event_time: str | None


class _WireEvent(msgspec.Struct):
    """The keys that are read; all of them `Any`, so that only what must fail does."""

    user_id: Any = None
    event_properties: Any = None
    country: Any = None
    event_time: Any = None


_event_decoder = msgspec.json.Decoder(_WireEvent)


def read_event(value: bytes | None) -> Event:
    """Read a record's value as a ``modify_user`` event.

    Only what DESIGN §4 demands can fail: an object with a user id and event properties. Every other
    field is taken as it comes, text stays text and anything else becomes its JSON text, so that an
    odd user name never costs a verdict.

    Raises:
        EventError: not JSON, no object, no ``user_id`` or no ``event_properties``.
    """
    try:
        # An absent value (a tombstone) is no JSON either.
        return _read_event(value if value is not None else b"")
    except RecursionError as exc:
        raise EventError(DeadLetterReason.NOT_JSON, "The value is nested too deeply.") from exc


def leaves_a_record(value: bytes) -> bool:
    """Whether a row or a dead letter will come of an event; not of one that says the picture was removed."""
    try:
        return bool(read_event(value).image_url)
    except EventError:
        return True


def _read_event(value: bytes) -> Event:
    wire = _read_wire_event(value)
    properties = wire.event_properties
    if not isinstance(properties, dict):
        raise EventError(DeadLetterReason.NO_EVENT_PROPERTIES, "The event has no event_properties object.")
    return Event(
        user_id=_user_id(wire.user_id),
        image_url=(_text(properties.get("target_user_image_url")) or "").strip(),
        username=_text(properties.get("target_user_name")),
        country=_text(wire.country),
        event_time=_text(wire.event_time),
    )


def _read_wire_event(value: bytes) -> _WireEvent:
    try:
        return _event_decoder.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    # Python producers write NaN and half surrogate pairs (a user name cut inside an emoji). A picture
    # must not escape its verdict by such a name, so what strict JSON refuses is read once more, leniently.
    try:
        wire = json.loads(value)
    except ValueError as exc:
        raise EventError(DeadLetterReason.NOT_JSON, f"The value is not JSON: {exc}.") from exc
    if not isinstance(wire, dict):
        raise EventError(
            DeadLetterReason.NOT_AN_OBJECT, f"The value is JSON and no object, but {type(wire).__name__}."
        )
    return _WireEvent(**{name: wire.get(name) for name in _WireEvent.__struct_fields__})


def _user_id(value: object) -> str:
    """The UID: a string, or a number made a string; 7.0 is 7."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str) and value.strip():
        return _without_surrogates(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return str(value)
    raise EventError(DeadLetterReason.NO_USER_ID, f"The event's user_id is {value!r:.80}.")


def _text(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, str):
        return _without_surrogates(value)
    return json.dumps(value)


def _without_surrogates(text: str) -> str:
    return text if text.isascii() else text.encode(errors="replace").decode()


class ModelAttributes(msgspec.Struct, kw_only=True, frozen=True):
    """MODEL_ATTRIBUTES; the defaults are those of a model that is switched off."""

    NN_DURATION: float = 0.0
    NN_SAFE_SCORES: str = ""
    NN_UNSAFE_SCORES: str = ""
    NN_TO_BE_MODERATED: bool = False
    NN_PREDICTION_SUCCESS: bool = False
    NN_STATUS: int = -1
    CLIP_DURATION: float = 0.0
    CLIP_PREDICTION_SUCCESS: bool = False
    CLIP_TO_BE_MODERATED: bool = False
    CLIP_STATUS: int = -1
    COOP_DURATION: float = 0.0
    COOP_PREDICTION_SUCCESS: bool = False
    COOP_STATUS: int = -1
    PREDICTED_TOP3_PRIMARY_CATEGORY: str = ""
    PREDICTED_TOP3_SECONDARY_CATEGORY: str = ""
    MFD_DURATION: float = 0.0
    MFD_TO_BE_MODERATED: bool = False
    MFD_PREDICTION_SUCCESS: bool = False
    MFD_STATUS: int = -1
    USER_ID: str
    PROVENANCE: dict[str, Any]

    def statuses(self) -> dict[str, int]:
        """Prefix → STATUS of the models that are on; of added ones too, whose columns PROVENANCE has."""
        every = {prefix: getattr(self, f"{prefix}_STATUS") for prefix in ("NN", "MFD", "CLIP", "COOP")}
        for model in self.PROVENANCE.get("models", {}).values():
            columns = model.get("columns", {})
            every |= {key.removesuffix("_STATUS"): columns[key] for key in columns if key.endswith("_STATUS")}
        return {prefix: status for prefix, status in every.items() if status != -1}


class ResultRow(msgspec.Struct, kw_only=True, frozen=True):
    """One row of the results topic: exactly these keys, in this order (DESIGN §5)."""

    UID: str
    USERNAME: str | None
    IMAGE_URL: str
    COUNTRY: str | None
    EVENT_TIME: str | None
    MESSAGE_RECEIVE_TIME: str
    TOTAL_DURATION: float
    MODEL_ATTRIBUTES: ModelAttributes
    PREDICTED_PRIMARY_CATEGORY: str
    PREDICTED_SECONDARY_CATEGORY: str
    MODEL_VERSION: str
    TO_BE_MODERATED: bool

    def to_json(self) -> bytes:
        """The Kafka record's value, UTF-8."""
        return _encoder.encode(self)

    def shortened(self) -> "ResultRow":
        """The same verdict with what the user can make long cut to `LONGEST_TEXT` characters.

        For a row that the broker finds too large: a long user name must not cost a picture its row.
        """
        provenance = self.MODEL_ATTRIBUTES.PROVENANCE | {"detections": {}, "shortened": True}
        return msgspec.structs.replace(
            self,
            USERNAME=self.USERNAME and self.USERNAME[:LONGEST_TEXT],
            IMAGE_URL=self.IMAGE_URL[:LONGEST_TEXT],
            COUNTRY=self.COUNTRY and self.COUNTRY[:LONGEST_TEXT],
            EVENT_TIME=self.EVENT_TIME and self.EVENT_TIME[:LONGEST_TEXT],
            MODEL_ATTRIBUTES=msgspec.structs.replace(self.MODEL_ATTRIBUTES, PROVENANCE=provenance),
        )


_encoder = msgspec.json.Encoder()
_row_decoder = msgspec.json.Decoder(ResultRow)
ANY_JSON = msgspec.json.Decoder(Any)


def read_row(value: bytes) -> ResultRow:
    """Read a row back; the inverse of `ResultRow.to_json`.

    Raises:
        msgspec.DecodeError: the value is not a row.
    """
    return decoded(_row_decoder, value)


def decoded(decoder: msgspec.json.Decoder[Decoded], value: bytes) -> Decoded:
    """A record's value that anyone may have written.

    Raises:
        msgspec.DecodeError: it is not what the decoder is for. msgspec itself has two more errors for that:
            one for what is no UTF-8, one for what is nested too deeply.
    """
    try:
        return decoder.decode(value)
    except (UnicodeDecodeError, RecursionError) as exc:
        raise msgspec.DecodeError(str(exc)) from exc


def format_time(moment: datetime) -> str:
    """A UTC time as the row has it: ``2022-06-21 02:18:04.776753+00:00``, always with microseconds."""
    return moment.astimezone(UTC).isoformat(sep=" ", timespec="microseconds")


def join_scores(scores: Sequence[float]) -> str:
    """Scores as the row has them: 4 places, one per key frame: ``0.9127, 0.0400``."""
    return ", ".join(f"{score:.4f}" for score in scores)


def dead_letter_headers(position: SourcePosition, reason: DeadLetterReason, message: str) -> Headers:
    """The headers that say why a record is a dead letter; its value and key stay the original bytes."""
    return [
        ("streamapp.reason", reason.value.encode()),
        ("streamapp.message", message.encode()),
        ("streamapp.source.topic", position.topic.encode()),
        ("streamapp.source.partition", str(position.partition).encode()),
        ("streamapp.source.offset", str(position.offset).encode()),
    ]
