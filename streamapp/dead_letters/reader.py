"""Reads chosen dead letters, or one record of their topic."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from streamapp.dead_letters.letter import DeadLetter, read_dead_letter
from streamapp.errors import BrokerError
from streamapp.reading import EVER, OffsetRange, Period, Ranges, open_reader, ranges_in, read_one, read_ranges
from streamapp.settings import Settings


@dataclass(frozen=True, slots=True)
class Choice:
    """Which dead letters are meant; what is not given leaves the choice open.

    Attributes:
        reasons: one of these.
        offsets: partition → its offsets; empty: all partitions.
    """

    period: Period = EVER
    reasons: frozenset[str] = frozenset()
    offsets: Mapping[int, OffsetRange] = field(default_factory=dict)

    def takes(self, letter: DeadLetter) -> bool:
        """Whether a dead letter of the range is meant."""
        return not self.reasons or letter.reason in self.reasons


class DeadLetterReader:
    """The dead-letter topic as it was when it was opened: what is added later is not read.

    Attributes:
        held: what each partition holds.
    """

    def __init__(self, consumer: AIOKafkaConsumer, held: Ranges, settings: Settings) -> None:
        self._consumer = consumer
        self._settings = settings
        self.held = held

    async def ranges(self, choice: Choice) -> Ranges:
        """The offsets among which the chosen dead letters are.

        Raises:
            BrokerError: the topic has no such partition, or the partition none of these offsets.
        """
        held = {place.partition: one for place, one in self.held.items()}
        for number, wanted in choice.offsets.items():
            if number not in held:
                raise BrokerError(
                    f"The topic {self._topic} has the partitions 0 to {len(held) - 1}, no {number}."
                )
            if not wanted.is_empty and wanted.within(held[number]).is_empty:
                raise BrokerError(
                    f"Partition {number} of {self._topic} has none of these offsets; it holds {held[number]}."
                )
        places = [place for place in self.held if not choice.offsets or place.partition in choice.offsets]
        ranges = {place: self.held[place] for place in places}
        if choice.period != EVER:
            found = await ranges_in(self._consumer, places, self._settings, choice.period)
            ranges = {place: one.within(self.held[place]) for place, one in found.items()}
        return {place: one.within(choice.offsets.get(place.partition, one)) for place, one in ranges.items()}

    async def read(self, choice: Choice, ranges: Ranges) -> AsyncIterator[list[DeadLetter]]:
        """The chosen dead letters among these offsets, a fetch at a time, in order within a partition.

        Records that streamapp did not write are passed over.

        Raises:
            BrokerError: the broker stopped answering.
        """
        async for records in read_ranges(self._consumer, ranges, self._settings):
            letters = [read_dead_letter(record) for record in records if choice.period.covers(record)]
            yield [letter for letter in letters if letter is not None and choice.takes(letter)]

    async def one(self, partition: int, offset: int) -> ConsumerRecord:
        """The record at an offset, whoever wrote it.

        Raises:
            BrokerError: there is none, or the broker stopped answering.
        """
        place = TopicPartition(self._topic, partition)
        record = await read_one(self._consumer, place, offset, self._settings)
        if record is None:
            held = ", ".join(f"{place.partition}: {one}" for place, one in self.held.items())
            raise BrokerError(
                f"{self._topic} has no record at {partition}:{offset}. What its partitions hold: {held}."
            )
        return record

    @property
    def _topic(self) -> str:
        return self._settings.dead_letter_topic


@asynccontextmanager
async def open_dead_letters(settings: Settings) -> AsyncIterator[DeadLetterReader]:
    """Connect to the dead-letter topic.

    Raises:
        BrokerError: the broker can't be reached, or has no such topic.
    """
    async with open_reader(settings, [settings.dead_letter_topic]) as consumer:
        held = await ranges_in(consumer, consumer.assignment(), settings)
        yield DeadLetterReader(consumer, held, settings)
