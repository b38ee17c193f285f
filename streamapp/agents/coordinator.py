"""aiokafka's side of the consumer group, with what it overlooks about offsets (reference: aiokafka 0.14)."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    IllegalGenerationError,
    NoError,
    NotCoordinatorForGroupError,
    for_code,
)
from aiokafka.protocol.commit import OffsetCommitRequest, OffsetFetchRequest

MOVED = (NotCoordinatorForGroupError, GroupCoordinatorNotAvailableError)


def guard_offsets(coordinator: Any) -> None:
    """Have committed offsets neither taken for missing nor set by a worker that is out of its group.

    1. Who is out of the group does not commit. aiokafka sends it all the same, and where the group is empty
    the broker takes it: a worker that stood still (SIGSTOP) would set back what others have committed since.

    2. A question for offsets that the broker refuses is asked again. One that has just started, or that
    another has just handed the group to, refuses it as a whole. aiokafka looks at the partitions alone, finds
    none in the answer, and takes it that nothing is committed: the worker would judge again whatever the
    topic still holds.
    """
    coordinator._send_req = partial(_send, coordinator, coordinator._send_req)


async def _send(coordinator: Any, send: Callable[[Any], Awaitable[Any]], request: Any) -> Any:
    """Send a request to the group's coordinator, unless it must not be.

    Raises:
        KafkaError: what aiokafka makes a failed commit or another try of.
    """
    # 1.
    if isinstance(request, OffsetCommitRequest) and coordinator.generation < 0:
        raise IllegalGenerationError(coordinator.group_id)
    response = await send(request)
    # 2.
    if isinstance(request, OffsetFetchRequest):
        # Before version 2 of the answer each partition has its own.
        error = for_code(getattr(response, "error_code", NoError.errno))
        if error in MOVED:
            coordinator.coordinator_dead()
        if error is not NoError:
            raise error(coordinator.group_id)
    return response
