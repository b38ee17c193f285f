"""A dead letter as a value, read from its record. Pure."""

from dataclasses import dataclass
from datetime import UTC, datetime

from aiokafka import ConsumerRecord

from streamapp.records import Headers, SourcePosition

# What streamapp writes of a record into its headers; the rest are the record's own.
PREFIX = "streamapp."
REPLAYS_HEADER = "streamapp.replays"
_FIRST_OF_WHY = "streamapp.reason"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that was no event, and why.

    Attributes:
        position: where the dead letter stands, on the dead-letter topic.
        published_at: UTC.
        source: where the original stood.
        replays: how often it had been sent back before it became this dead letter.
        headers: the original's own.
        lacks: what ``streamapp.value`` says of a value that is not the original's; None: it is.
    """

    position: SourcePosition
    published_at: datetime
    reason: str
    message: str
    source: SourcePosition
    replays: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    lacks: str | None

    @property
    def place(self) -> str:
        """``partition:offset``, as the commands print and take it."""
        return place_of(self.position)

    @property
    def had_neither_key_nor_value(self) -> bool:
        """Whether the original was empty; Kafka's client sends no such record."""
        return self.lacks == "null"

    @property
    def is_left_out(self) -> bool:
        """Whether only the source position still finds the original."""
        return self.lacks is not None and not self.had_neither_key_nor_value


def read_dead_letter(record: ConsumerRecord) -> DeadLetter | None:
    """Read a record of the dead-letter topic; None where streamapp did not write it."""
    headers = [(name, value) for name, value in record.headers if value is not None]
    names = [name for name, _ in headers]
    if _FIRST_OF_WHY not in names:
        return None
    # A user's record may carry such a header too; the worker's own come last.
    first = len(names) - 1 - names[::-1].index(_FIRST_OF_WHY)
    why = {name: value.decode(errors="replace") for name, value in headers[first:]}
    try:
        source = SourcePosition(
            why["streamapp.source.topic"],
            int(why["streamapp.source.partition"]),
            int(why["streamapp.source.offset"]),
        )
    except (KeyError, ValueError):
        return None
    return DeadLetter(
        position=SourcePosition(record.topic, record.partition, record.offset),
        published_at=datetime.fromtimestamp(max(0, record.timestamp) / 1000, UTC),
        reason=why[_FIRST_OF_WHY],
        message=why.get("streamapp.message", ""),
        source=source,
        replays=replays_of(headers),
        key=record.key,
        value=record.value,
        headers=own_headers(record.headers),
        lacks=why.get("streamapp.value"),
    )


def replays_of(headers: Headers) -> int:
    """How often a record had been sent back; 0 where its headers say nothing that is a count."""
    count = dict(headers).get(REPLAYS_HEADER) or b""
    return int(count) if count.isdigit() and len(count) < 10 else 0


def own_headers(headers: Headers) -> Headers:
    """The headers without streamapp's."""
    return [(name, value) for name, value in headers if not name.startswith(PREFIX)]


def place_of(position: SourcePosition) -> str:
    """``partition:offset`` of a position whose topic is known."""
    return f"{position.partition}:{position.offset}"
