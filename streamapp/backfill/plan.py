"""The plan of a backfill: fixed when it begins, kept by the broker beside its committed offsets. Pure."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from streamapp.backfill.ranges import Asked, offsets_in
from streamapp.errors import BrokerError
from streamapp.reading import OffsetRange


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run has to do, and how far it is.

    Attributes:
        run: the id that the rows carry.
        results_topic: where the rows go.
        only_reasons: events whose latest row has one of these reasons; empty: all events.
        digest: of the options that it was begun with.
        ranges: partition → the offsets to re-read.
        done: partition → the offset up to which every event of its range has its outcome.
    """

    run: str
    results_topic: str
    only_reasons: tuple[str, ...]
    digest: str
    ranges: Mapping[int, OffsetRange]
    done: Mapping[int, int]

    @property
    def left(self) -> dict[int, OffsetRange]:
        """Partition → what is still to be done; without the partitions that are done."""
        left = {number: OffsetRange(self.done[number], whole.end) for number, whole in self.ranges.items()}
        return {number: rest for number, rest in left.items() if not rest.is_empty}

    @property
    def offsets(self) -> int:
        """How many offsets the run re-reads in all."""
        return sum(offsets_in(whole) for whole in self.ranges.values())

    @property
    def offsets_left(self) -> int:
        """How many of them are still to be done."""
        return sum(offsets_in(rest) for rest in self.left.values())

    def without_deleted(self, held: Mapping[int, OffsetRange]) -> "Plan":
        """The same plan that leaves out what the topic no longer holds.

        Args:
            held: partition → what the topic holds of it.
        """
        return replace(self, done={number: max(at, held[number].first) for number, at in self.done.items()})

    def note(self, partition: int) -> str:
        """What goes along with the partition's committed offset, so that the run's id alone continues it.

        Kafka takes 4096 bytes (offset.metadata.max.bytes), hence the digest in place of the options.
        """
        whole = self.ranges[partition]
        note = _Note(whole.first, whole.end, self.results_topic, list(self.only_reasons), self.digest)
        return msgspec.json.encode(note).decode()


class _Note(msgspec.Struct, forbid_unknown_fields=True):
    first: int
    end: int
    results_topic: str
    only_reasons: list[str]
    digest: str


def new_plan(
    run: str,
    results_topic: str,
    only_reasons: tuple[str, ...],
    asked: Asked,
    ranges: Mapping[int, OffsetRange],
) -> Plan:
    """The plan of a run that begins; partitions with nothing to re-read are no part of it."""
    ranges = {number: whole for number, whole in ranges.items() if not whole.is_empty}
    digest = options_digest(results_topic, only_reasons, asked)
    done = {number: whole.first for number, whole in ranges.items()}
    return Plan(run, results_topic, only_reasons, digest, ranges, done)


def options_digest(results_topic: str, only_reasons: tuple[str, ...], asked: Asked) -> str:
    """Tells options apart; the same command gives the same digest whenever it is run."""
    texts = [str(asked)] if not isinstance(asked, tuple) else sorted(map(str, asked))
    options: list[Any] = [results_topic, sorted(only_reasons), texts]
    return hashlib.sha256(msgspec.json.encode(options)).hexdigest()[:16]


def read_plan(run: str, group: str, committed: Mapping[int, tuple[int, str]]) -> Plan | None:
    """Read a run's plan back.

    Args:
        committed: partition → committed offset and what went along with it.

    Returns:
        None where the run has not begun.

    Raises:
        BrokerError: the group's offsets carry no plan of a backfill.
    """
    if not committed:
        return None
    try:
        notes = {number: msgspec.json.decode(note, type=_Note) for number, (_, note) in committed.items()}
    except (msgspec.DecodeError, UnicodeError) as exc:
        raise BrokerError(
            f"The offsets of the group {group!r} carry no plan of a backfill: the group is someone else's, "
            "or the broker keeps no metadata of offsets, as the embedded one, where no run goes on. Nothing "
            "was done; begin another --run with --from or --offsets."
        ) from exc
    one = next(iter(notes.values()))
    return Plan(
        run,
        one.results_topic,
        tuple(one.only_reasons),
        one.digest,
        {number: OffsetRange(note.first, note.end) for number, note in notes.items()},
        {number: offset for number, (offset, _) in committed.items()},
    )
