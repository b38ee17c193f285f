"""Chooses events by what their latest rows say: those that a CDN outage left without a verdict, say."""

import asyncio
from collections.abc import Callable, Collection, Mapping

import msgspec

from streamapp.backfill.ranges import offsets_in
from streamapp.reading import OffsetRange, open_reader, ranges_in, read_ranges
from streamapp.records import decoded
from streamapp.settings import Settings


class Selection:
    """One byte for each offset of the ranges: whether the event is chosen."""

    def __init__(self, topic: str, ranges: Mapping[int, OffsetRange], reasons: Collection[str]) -> None:
        self._topic = topic
        self._ranges = ranges
        self._reasons = frozenset(reasons)
        self._chosen = {number: bytearray(offsets_in(whole)) for number, whole in ranges.items()}

    def note(self, value: bytes | None) -> None:
        """Note what a row says; of an event's rows the last one counts. What is no row is passed over."""
        try:
            provenance = decoded(_decoder, value or b"").MODEL_ATTRIBUTES.PROVENANCE
        except msgspec.DecodeError:
            return
        source = provenance.source
        if source is None or source.topic != self._topic or source.partition not in self._ranges:
            return
        whole = self._ranges[source.partition]
        if whole.first <= source.offset < whole.end:
            is_chosen = provenance.reason in self._reasons
            self._chosen[source.partition][source.offset - whole.first] = is_chosen

    def has(self, partition: int, offset: int) -> bool:
        """Whether the event is chosen; the offset is one of the ranges'."""
        return bool(self._chosen[partition][offset - self._ranges[partition].first])

    def count(self, partition: int) -> int:
        """How many events of a partition are chosen."""
        return sum(self._chosen[partition])


class _Source(msgspec.Struct):
    topic: str
    partition: int
    offset: int


class _Provenance(msgspec.Struct):
    source: _Source | None
    reason: str | None


class _Attributes(msgspec.Struct):
    PROVENANCE: _Provenance


class _Row(msgspec.Struct):
    """The part of a row that tells whose it is and why it has no verdict: other models' keys are skipped."""

    MODEL_ATTRIBUTES: _Attributes


_decoder = msgspec.json.Decoder(_Row)


async def select(
    settings: Settings,
    ranges: Mapping[int, OffsetRange],
    reasons: Collection[str],
    on_rows: Callable[[int, int], None] = lambda done, total: None,
) -> Selection:
    """Read the results topic from its beginning to its present end.

    All rows of an event are in one partition, in order, for their key is the user's id.

    Args:
        on_rows: is told, as it goes, how many rows of at most how many are read.

    Raises:
        BrokerError: the broker stopped answering.
    """
    selection = Selection(settings.events_topic, ranges, reasons)
    async with open_reader(settings, [settings.results_topic]) as consumer:
        there = await ranges_in(consumer, consumer.assignment(), settings)
        total = sum(offsets_in(whole) for whole in there.values())
        rows = 0
        async for records in read_ranges(consumer, there, settings):
            for record in records:
                selection.note(record.value)
            rows += len(records)
            on_rows(rows, total)
            # With rows at hand nothing here may have waited, and a signal must come through.
            await asyncio.sleep(0)
    return selection
