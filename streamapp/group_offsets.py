"""What a consumer group has committed, asked by someone who is no member of it."""

import asyncio
from collections.abc import Collection

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupLoadInProgressError, KafkaError
from aiokafka.structs import OffsetAndMetadata

from streamapp.errors import BrokerError
from streamapp.kafka import client_options
from streamapp.reading import REQUEST_TIMEOUT_MS
from streamapp.settings import Settings

_COORDINATOR_RETRY_S = 0.2


async def committed_offsets(
    settings: Settings, group: str, places: Collection[TopicPartition]
) -> dict[TopicPartition, OffsetAndMetadata]:
    """Each partition's committed offset, below 0 for none, and the text that was committed beside it.

    The embedded broker keeps no such text.

    Raises:
        BrokerError: the broker does not answer, or its coordinator was not ready in time.
    """
    admin = AIOKafkaAdminClient(request_timeout_ms=REQUEST_TIMEOUT_MS, **client_options(settings))
    try:
        await admin.start()
        return await _when_ready(admin, group, list(places))
    except (KafkaError, OSError) as exc:
        raise BrokerError(
            f"The broker at {settings.brokers} does not tell the offsets of the group {group}: {exc!r}."
        ) from exc
    finally:
        await admin.close()


async def _when_ready(
    admin: AIOKafkaAdminClient, group: str, places: list[TopicPartition]
) -> dict[TopicPartition, OffsetAndMetadata]:
    """The offsets; a group that is asked for the first time has no coordinator for a moment.

    Raises:
        KafkaError: the last one, where it was not ready in time.
    """
    clock = asyncio.get_running_loop().time
    give_up_at = clock() + REQUEST_TIMEOUT_MS / 1000
    while True:
        try:
            # Asked for by name: the embedded broker's answer to "all partitions" can't be parsed.
            found = await admin.list_consumer_group_offsets(group, partitions=places)
            # aiokafka 0.14 takes a coordinator that is still loading for one that has no offsets.
            if all(place in found for place in places):
                return found  # type: ignore[no-any-return]  # aiokafka is untyped
            raise GroupLoadInProgressError(group)
        except KafkaError as exc:
            if not exc.retriable or clock() > give_up_at:
                raise
        await asyncio.sleep(_COORDINATOR_RETRY_S)
