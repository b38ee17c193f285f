"""Offsets of a partition as a person writes them on a command line. Pure."""

import re
from dataclasses import dataclass

_OFFSETS = re.compile(r"(?P<partition>\d{1,9}):(?P<first>\d{1,18})(?P<to>-(?P<last>\d{1,18})?)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class PartitionOffsets:
    """Offsets of one partition.

    Attributes:
        last: the last of them; None: up to what the partition holds when it is read.
    """

    partition: int
    first: int
    last: int | None

    def __str__(self) -> str:
        return f"{self.partition}:{self.first}-{'' if self.last is None else self.last}"


def parse_offsets(text: str) -> PartitionOffsets:
    """Read ``PARTITION:FIRST-LAST`` (both offsets included), ``PARTITION:FIRST-`` or ``PARTITION:OFFSET``.

    Raises:
        ValueError: the text is none of these, or LAST is below FIRST.
    """
    found = _OFFSETS.fullmatch(text.strip())
    if found is None:
        raise ValueError(
            f"{text!r} is not like 3:41210-41300 (both included), 3:41210- (to the end) or 3:41210."
        )
    first = int(found["first"])
    last = first if found["to"] is None else int(found["last"]) if found["last"] else None
    if last is not None and last < first:
        raise ValueError(f"{text!r} ends before it begins.")
    return PartitionOffsets(int(found["partition"]), first, last)
