"""What a backfill is asked to re-read, and what that comes to in offsets. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from streamapp.errors import BrokerError
from streamapp.offsets import PartitionOffsets
from streamapp.reading import OffsetRange


@dataclass(frozen=True, slots=True)
class TimeSpan:
    """The events from the first that Kafka has of one time or later, up to the first of another.

    Attributes:
        end: None: up to what the topic holds when the backfill begins.
    """

    start: datetime
    end: datetime | None = None

    def __str__(self) -> str:
        return f"from {self.start.isoformat()} to {self.end.isoformat() if self.end else 'now'}"


Asked = TimeSpan | tuple[PartitionOffsets, ...]


def offsets_in(whole: OffsetRange) -> int:
    """How many offsets a range has; its events are fewer where the topic is compacted."""
    return max(0, whole.end - whole.first)


def time_span(start: datetime, end: datetime | None, now: datetime) -> TimeSpan:
    """Put a span together.

    Raises:
        ValueError: it ends before it begins, or is not all in the past.
    """
    for name, moment in (("--from", start), ("--to", end)):
        if moment is not None and moment > now:
            raise ValueError(
                f"{name} {moment.isoformat()} is in the future: it is {now.isoformat(timespec='seconds')}. "
                "Times without a zone are UTC; without --to a backfill ends with what the topic holds now."
            )
    if start.timestamp() < 0:
        raise ValueError(f"--from {start.isoformat()} is before 1970, the first time that Kafka knows.")
    if end is not None and end <= start:
        raise ValueError(f"--to {end.isoformat()} is not after --from {start.isoformat()}.")
    return TimeSpan(start, end)


def check_partitions_once(asked: Sequence[PartitionOffsets]) -> None:
    """Make sure that each partition has one range, for it has one committed offset.

    Raises:
        ValueError: a partition has several.
    """
    seen: set[int] = set()
    for one in asked:
        if one.partition in seen:
            raise ValueError(
                f"Partition {one.partition} has more than one range; give each a run of its own."
            )
        seen.add(one.partition)


def ranges_of_offsets(
    topic: str, asked: Sequence[PartitionOffsets], held: Mapping[int, OffsetRange]
) -> dict[int, OffsetRange]:
    """Turn what is asked into ranges that the topic holds, whole.

    Args:
        held: partition → what the topic holds of it.

    Raises:
        BrokerError: a partition is unknown, or an offset was deleted or is not written yet.
    """
    return {one.partition: _range_of_offsets(topic, one, held) for one in asked}


def _range_of_offsets(topic: str, asked: PartitionOffsets, held: Mapping[int, OffsetRange]) -> OffsetRange:
    if asked.partition not in held:
        raise BrokerError(f"{topic} has no partition {asked.partition}, only 0 to {len(held) - 1}.")
    there = held[asked.partition]
    partition = f"{topic}[{asked.partition}]"
    if there.is_empty:
        raise BrokerError(f"{partition} holds no events; its next offset is {there.end}.")
    if asked.first < there.first:
        raise BrokerError(
            f"{partition} holds the offsets {there}: those from {asked.first} on "
            f"were deleted by its retention. Begin with {asked.partition}:{there.first}-."
        )
    end = there.end if asked.last is None else asked.last + 1
    if asked.first >= there.end or end > there.end:
        raise BrokerError(f"{partition} holds the offsets {there}: {asked} goes beyond them.")
    return OffsetRange(asked.first, end)
