"""Sets of offsets of several partitions, compared. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from streamapp.offset_set import OffsetSet

Offsets = Mapping[int, OffsetSet]
"""Partition → offsets; a partition without any may be missing."""

_NONE = OffsetSet()


def count(offsets: Offsets) -> int:
    """How many there are."""
    return sum(end - first for one in offsets.values() for first, end in one)


def minus(wanted: Offsets, *others: Offsets) -> dict[int, OffsetSet]:
    """The wanted ones that none of the others has; partitions without any are left out."""
    left = dict(wanted)
    for other in others:
        left = {number: _minus(one, other.get(number, _NONE)) for number, one in left.items()}
    return {number: one for number, one in left.items() if any(True for _ in one)}


def _minus(wanted: OffsetSet, other: OffsetSet) -> OffsetSet:
    return OffsetSet(_gaps(wanted, list(other)))


def _gaps(wanted: OffsetSet, taken: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """What of the wanted ranges lies outside of those that are taken; both ascend, so each is seen once."""
    index = 0
    for first, end in wanted:
        while index < len(taken) and taken[index][1] <= first:
            index += 1
        position, ahead = first, index
        while position < end and ahead < len(taken) and taken[ahead][0] < end:
            if taken[ahead][0] > position:
                yield position, taken[ahead][0]
            position = taken[ahead][1]
            ahead += 1
        if position < end:
            yield position, end


def gather(ranges: Iterable[tuple[int, int, int]]) -> dict[int, OffsetSet]:
    """Offsets from rows ``(partition, first, end)``, the ranges of each partition ascending and apart."""
    found: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for number, first, end in ranges:
        found[number].append((first, end))
    return {number: OffsetSet(one) for number, one in found.items()}


def told(topic: str, offsets: Offsets, most: int) -> str:
    """The offsets as text, ``results[2]@101-103, results[3]@7``; of many ranges the first ones."""
    parts = [
        f"{topic}[{number}]@{first}" + (f"-{end - 1}" if end - first > 1 else "")
        for number, one in sorted(offsets.items())
        for first, end in one
    ]
    more = f" and {len(parts) - most} more ranges" if len(parts) > most else ""
    return ", ".join(parts[:most]) + more
