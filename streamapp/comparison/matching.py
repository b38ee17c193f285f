"""Finds the two rows of each event in two files."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from streamapp.comparison.fields import EventKey, Facts
from streamapp.comparison.lines import BadLine, read_rows
from streamapp.errors import StreamappError

KEPT_EXAMPLES = 20


@dataclass(slots=True)
class Side:
    """One of the two files, and what was found in it.

    Attributes:
        row_count: rows that could be read.
        repeated_count: rows of an event that a later row of the same file, by its MESSAGE_RECEIVE_TIME,
            stands for. Only those of events that are in both files are known.
        unmatched_count: rows of events that the other file does not have.
        unmatched: the first of them.
        bad_count: lines that hold no row.
        bad_lines: the first of them.
    """

    path: Path
    row_count: int = 0
    repeated_count: int = 0
    unmatched_count: int = 0
    unmatched: list[Facts] = field(default_factory=list)
    bad_count: int = 0
    bad_lines: list[BadLine] = field(default_factory=list)

    def add_unmatched(self, facts: Facts, count: int = 1) -> None:
        self.unmatched_count += count
        if len(self.unmatched) < KEPT_EXAMPLES:
            self.unmatched.append(facts)


@dataclass(frozen=True, slots=True)
class Matching:
    """Both files, and the latest old and new row of every event that is in both."""

    old: Side
    new: Side
    pairs: list[tuple[Facts, Facts]]


@dataclass(slots=True)
class _Event:
    """An event of the file that is held: its latest row, and its latest row in the other file."""

    held: Facts
    held_count: int = 1
    partner: Facts | None = None
    partner_count: int = 0


def match_files(old: Path, new: Path) -> Matching:
    """Match rows by UID, IMAGE_URL and EVENT_TIME; of several the latest MESSAGE_RECEIVE_TIME counts.

    1. The file with fewer bytes is held in memory: about 2 KB for each of its events, both rows together.
    2. The other one is streamed past it.

    Raises:
        StreamappError: a file can't be read, holds no rows, or shares no event with the other.
    """
    old_side, new_side = Side(old), Side(new)
    is_old_held = old.stat().st_size <= new.stat().st_size
    held, streamed = (old_side, new_side) if is_old_held else (new_side, old_side)
    # 1.
    events = _events_of(held)
    # 2.
    for facts in _rows(streamed):
        event = events.get(facts.key)
        if event is None:
            streamed.add_unmatched(facts)
            continue
        event.partner_count += 1
        event.partner = facts if event.partner is None else _later(event.partner, facts)

    pairs: list[tuple[Facts, Facts]] = []
    for event in events.values():
        if event.partner is None:
            held.add_unmatched(event.held, event.held_count)
            continue
        held.repeated_count += event.held_count - 1
        streamed.repeated_count += event.partner_count - 1
        pairs.append((event.held, event.partner) if is_old_held else (event.partner, event.held))
    if not pairs:
        raise StreamappError(_why_nothing_matches(old_side, new_side))
    return Matching(old_side, new_side, pairs)


def _events_of(side: Side) -> dict[EventKey, _Event]:
    events: dict[EventKey, _Event] = {}
    for facts in _rows(side):
        event = events.get(facts.key)
        if event is None:
            events[facts.key] = _Event(facts)
            continue
        event.held_count += 1
        event.held = _later(event.held, facts)
    return events


def _rows(side: Side) -> Iterator[Facts]:
    """The rows of a file; its bad lines are counted.

    Raises:
        StreamappError: there is no row in it.
    """
    for found in read_rows(side.path):
        if isinstance(found, Facts):
            side.row_count += 1
            yield found
            continue
        side.bad_count += 1
        if len(side.bad_lines) < KEPT_EXAMPLES:
            side.bad_lines.append(found)
    if side.row_count == 0:
        first = f": {side.bad_lines[0]}" if side.bad_lines else "; it is empty"
        raise StreamappError(f"{side.path} holds no row{first}.")


def _later(first: Facts, second: Facts) -> Facts:
    """The later row; of two of the same time the one that was read last."""
    return second if second.received >= first.received else first


def _why_nothing_matches(old: Side, new: Side) -> str:
    examples = "; ".join(f"{side.path.name}: {_identity(side.unmatched[0])}" for side in (old, new))
    return (
        "No event is in both files. Rows are matched by UID, IMAGE_URL and EVENT_TIME; "
        f"the first of each: {examples}."
    )


def _identity(facts: Facts) -> str:
    return f"{facts.uid[:40]!r}, {facts.url[:120]!r}, {(facts.event_time or '')[:40]!r}"
