"""What Kafka Connect says of its connector: how far it has loaded, and what it refused."""

from collections.abc import Collection

from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from streamapp.kafka import client_options
from streamapp.offset_set import OffsetSet
from streamapp.reading import REQUEST_TIMEOUT_MS, open_reader, ranges_in, read_errors, read_ranges
from streamapp.settings import Settings
from streamapp.warehouse.published import committed_to, offset_sets

GROUP = "connect-streamapp-postgres"
"""Where Connect keeps how far the connector has loaded; named after the connector."""

_FROM = "__connect.errors."


def refused_topic(settings: Settings) -> str:
    """Connect's dead-letter topic, as connect/postgres.json has it."""
    return f"{settings.results_topic}.postgres-errors"


async def loaded_to(settings: Settings, partitions: Collection[int]) -> dict[int, int]:
    """Partition of the results topic → the offset that Connect has committed; 0 where it has none.

    Raises:
        BrokerError: the broker does not answer.
    """
    places = [TopicPartition(settings.results_topic, number) for number in partitions]
    found = await committed_to(settings, GROUP, places)
    return {place.partition: offset for place, offset in found.items()}


async def read_refused(settings: Settings) -> dict[int, OffsetSet]:
    """The records of the results topic that Connect wrote to its dead-letter topic instead of the warehouse.

    Raises:
        BrokerError: the broker can't be reached, or stopped answering.
    """
    refused = offset_sets()
    places = await _places(settings, refused_topic(settings))
    if not places:
        return refused
    async with open_reader(settings, [settings.results_topic]) as consumer:
        consumer.assign(places)
        async for records in read_ranges(consumer, await ranges_in(consumer, places, settings), settings):
            for record in records:
                _add_refused(record, settings.results_topic, refused)
    return refused


async def _places(settings: Settings, topic: str) -> list[TopicPartition]:
    """The partitions of a topic; none where there is no such topic, which a consumer can't tell."""
    admin = AIOKafkaAdminClient(request_timeout_ms=REQUEST_TIMEOUT_MS, **client_options(settings))
    with read_errors(settings):
        try:
            await admin.start()
            if topic not in await admin.list_topics():
                return []
            (found,) = await admin.describe_topics([topic])
        finally:
            await admin.close()
    return [TopicPartition(topic, number) for number in range(len(found["partitions"]))]


def _add_refused(record: ConsumerRecord, topic: str, refused: dict[int, OffsetSet]) -> None:
    headers = {name: (value or b"").decode(errors="replace") for name, value in record.headers}
    partition, offset = (headers.get(f"{_FROM}{part}", "") for part in ("partition", "offset"))
    if headers.get(f"{_FROM}topic") == topic and partition.isdecimal() and offset.isdecimal():
        refused[int(partition)].add(int(offset))
