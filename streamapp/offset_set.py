"""Many offsets of one partition in little room. Pure."""

import base64
import binascii
import math
import zlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator

# More than any that we write; the text comes from the broker.
_MOST_BYTES = 1_000_000


class OffsetSet:
    """Offsets as disjoint, ascending ranges: few, even where the offsets are many."""

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        """Take ranges ``(first, end)`` that ascend and neither touch nor are empty."""
        self._ranges = list(ranges)

    def __contains__(self, offset: int) -> bool:
        index = bisect_right(self._ranges, (offset, math.inf))
        return index > 0 and offset < self._ranges[index - 1][1]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """The ranges, ``(first, end)``."""
        return iter(self._ranges)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OffsetSet) and self._ranges == other._ranges

    def __repr__(self) -> str:
        return f"OffsetSet({self._ranges})"

    def __or__(self, other: "OffsetSet") -> "OffsetSet":
        """The offsets of both."""
        merged: list[tuple[int, int]] = []
        for first, end in sorted([*self._ranges, *other._ranges]):
            if merged and first <= merged[-1][1]:
                first, before = merged.pop()
                end = max(before, end)
            merged.append((first, end))
        return OffsetSet(merged)

    def copy(self) -> "OffsetSet":
        """Another set of the same offsets."""
        return OffsetSet(self._ranges)

    def add(self, offset: int) -> None:
        """Add an offset; one that is there stays."""
        if offset in self:
            return
        index = bisect_right(self._ranges, (offset, math.inf))
        first, end = offset, offset + 1
        if index and self._ranges[index - 1][1] == first:
            index -= 1
            first = self._ranges.pop(index)[0]
        if index < len(self._ranges) and self._ranges[index][0] == end:
            end = self._ranges.pop(index)[1]
        self._ranges.insert(index, (first, end))

    def end_of_run(self, first: int) -> int:
        """The lowest offset from `first` on that is not in the set."""
        index = bisect_right(self._ranges, (first, math.inf))
        return self._ranges[index - 1][1] if first in self else first

    def encoded(self, base: int) -> str:
        """The offsets from `base` on as text: gaps and lengths, compressed."""
        ranges = [(max(first, base), end) for first, end in self._ranges if end > base]
        starts = [base, *(end for _, end in ranges)]
        steps = [
            f"{first - start}+{end - first}" for start, (first, end) in zip(starts, ranges, strict=False)
        ]
        return base64.b85encode(zlib.compress(",".join(steps).encode(), 9)).decode() if steps else ""

    @staticmethod
    def decoded(base: int, text: str) -> "OffsetSet":
        """The inverse of `encoded`.

        Raises:
            ValueError: the text was not written by `encoded`.
        """
        ranges: list[tuple[int, int]] = []
        position = base
        for step in _steps(text):
            gap, _, length = step.partition("+")
            first = position + int(gap)
            position = first + int(length)
            ranges.append((first, position))
        return OffsetSet(ranges)


def _steps(text: str) -> list[str]:
    if not text:
        return []
    try:
        steps = zlib.decompressobj().decompress(base64.b85decode(text), _MOST_BYTES)
    except (binascii.Error, zlib.error) as exc:
        raise ValueError(f"Not a set of offsets: {exc}.") from exc
    return steps.decode().split(",")
