"""Remembers which dead letters have been sent back, in Kafka itself."""

import asyncio
import logging
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata

from streamapp.dead_letters.letter import place_of
from streamapp.errors import BrokerError
from streamapp.group_offsets import committed_offsets
from streamapp.kafka import client_options
from streamapp.offset_set import OffsetSet
from streamapp.reading import REQUEST_TIMEOUT_MS, OffsetRange, Ranges, stop_consumer
from streamapp.records import SourcePosition
from streamapp.settings import Settings

logger = logging.getLogger(__name__)

# Kafka's default for offset.metadata.max.bytes.
MAX_METADATA_BYTES = 4096
COMMIT_TIMEOUT_S = 30.0
_ANY_END = 2**63 - 1

Remembered = dict[TopicPartition, OffsetSet]


def ledger_group(settings: Settings) -> str:
    """The group whose committed offsets are the ledger; no member ever joins it."""
    return f"{settings.group}-replays"


async def read_ledger(settings: Settings, held: Ranges) -> Remembered:
    """Which dead letters have been sent back, of those that the topic holds.

    The committed offset of a partition is its first dead letter that has not been sent back; the metadata
    beside it holds those behind it that have. Kafka forgets both a week after the last replay
    (offsets.retention.minutes), its default for the dead letters themselves. The embedded broker keeps
    no metadata.

    Raises:
        BrokerError: the broker does not tell the offsets, or they are not ours.
    """
    found = await committed_offsets(settings, ledger_group(settings), held)
    try:
        return {place: _remembered(held[place], found[place]) for place in held}
    except ValueError as exc:
        raise BrokerError(
            f"The offsets of the group {ledger_group(settings)} were not written by streamapp: {exc} Delete "
            "the group to forget what has been replayed."
        ) from exc


class ReplayLedger:
    """Notes what has been sent back, and commits it.

    Two replays at the same time see each other's notes as they note; only those that note in the same moment
    overwrite each other's: what is lost by it is sent twice when the replay is repeated.
    """

    def __init__(
        self, consumer: AIOKafkaConsumer, held: Ranges, remembered: Remembered, settings: Settings
    ) -> None:
        self._consumer = consumer
        self._held = held
        self._remembered = remembered
        self._settings = settings
        self._has_asked_for_metadata = False

    def __contains__(self, position: SourcePosition) -> bool:
        return position.offset in self._remembered[TopicPartition(position.topic, position.partition)]

    def check_room(self, positions: Iterable[SourcePosition]) -> None:
        """Make sure that these can be noted; to be asked before they are sent.

        Raises:
            BrokerError: what has been replayed of a partition is too scattered for Kafka's metadata.
        """
        for place, replayed in self._with(positions).items():
            offset, metadata = _entry(self._held[place], replayed)
            if len(metadata) > MAX_METADATA_BYTES:
                raise BrokerError(
                    f"What has been sent back of {place.topic}[{place.partition}] is too scattered to be "
                    f"remembered: send {place.partition}:{offset} and those behind it back first, whatever "
                    "their reason."
                )

    async def note(self, positions: Collection[SourcePosition]) -> None:
        """Remember that these have been sent back, beside what another replay has noted meanwhile.

        Raises:
            BrokerError: the broker did not take it.
        """
        if not positions:
            return
        try:
            # aiokafka itself tries without an end where no broker answers.
            async with asyncio.timeout(COMMIT_TIMEOUT_S):
                # A later replay has seen a longer topic.
                grown = {place: OffsetRange(held.first, _ANY_END) for place, held in self._held.items()}
                for place, found in (await read_ledger(self._settings, grown)).items():
                    self._remembered[place] |= found
                self._remembered |= self._with(positions)
                entries = {
                    place: OffsetAndMetadata(*_entry(self._held[place], self._remembered[place]))
                    for place in {TopicPartition(one.topic, one.partition) for one in positions}
                }
                await self._consumer.commit(entries)
        except (BrokerError, KafkaError, OSError) as exc:
            raise BrokerError(
                f"The broker at {self._settings.brokers} did not note that {len(positions)} dead letters "
                f"were sent back, from {place_of(min(positions, key=_order))} to "
                f"{place_of(max(positions, key=_order))}: repeated, the replay sends them again. {exc!r}."
            ) from exc
        await self._warn_of_forgetting(entries)

    async def _warn_of_forgetting(self, entries: Mapping[TopicPartition, OffsetAndMetadata]) -> None:
        """Look once whether the broker has kept the metadata: the embedded one keeps offsets only."""
        written = [place for place, entry in entries.items() if entry.metadata]
        if self._has_asked_for_metadata or not written:
            return
        self._has_asked_for_metadata = True
        kept = await committed_offsets(self._settings, ledger_group(self._settings), written)
        if not any(kept[place].metadata for place in written):
            logger.warning(
                "The broker at %s keeps no metadata of committed offsets: what is sent back of %s behind a "
                "dead letter that is not will be sent again when the replay is repeated.",
                self._settings.brokers,
                ", ".join(f"{place.topic}[{place.partition}]" for place in written),
            )

    def _with(self, positions: Iterable[SourcePosition]) -> Remembered:
        noted: Remembered = {}
        for position in positions:
            place = TopicPartition(position.topic, position.partition)
            if place not in noted:
                noted[place] = self._remembered[place].copy()
            noted[place].add(position.offset)
        return noted


@asynccontextmanager
async def open_ledger(settings: Settings, held: Ranges) -> AsyncIterator[ReplayLedger]:
    """Read the ledger, and connect to write on.

    Raises:
        BrokerError: the broker can't be reached, or the ledger not be read.
    """
    remembered = await read_ledger(settings, held)
    consumer = AIOKafkaConsumer(
        group_id=ledger_group(settings),
        enable_auto_commit=False,
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        **client_options(settings),
    )
    try:
        try:
            await consumer.start()
        except (KafkaError, OSError) as exc:
            raise BrokerError(f"The broker at {settings.brokers} does not answer: {exc!r}.") from exc
        # Only what is assigned can be committed; nothing of it is read here.
        consumer.assign(list(held))
        consumer.pause(*held)
        yield ReplayLedger(consumer, held, remembered, settings)
    finally:
        await stop_consumer(consumer)


def _order(position: SourcePosition) -> tuple[int, int]:
    return position.partition, position.offset


def _entry(held: OffsetRange, replayed: OffsetSet) -> tuple[int, str]:
    """The offset and the metadata to commit."""
    first_open = replayed.end_of_run(held.first)
    return first_open, replayed.encoded(first_open)


def _remembered(held: OffsetRange, committed: OffsetAndMetadata) -> OffsetSet:
    if not 0 <= committed.offset <= held.end:
        # Never noted; or the topic was made anew, with fewer records.
        return OffsetSet()
    before = [(held.first, committed.offset)] if held.first < committed.offset else []
    return OffsetSet([*before, *OffsetSet.decoded(committed.offset, committed.metadata)])
