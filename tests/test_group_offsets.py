"""What a group has committed; that a whole broker tells it is proved where plans and ledgers are kept."""

from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import GroupLoadInProgressError, NotCoordinatorForGroupError
from aiokafka.structs import OffsetAndMetadata

from streamapp import group_offsets
from streamapp.errors import BrokerError
from streamapp.group_offsets import committed_offsets
from streamapp.local.broker import free_port
from streamapp.settings import Settings


class LoadingCoordinator:
    """Answers as aiokafka does for a coordinator that is still loading, then that it moved, then well."""

    def __init__(self, answer: dict[TopicPartition, OffsetAndMetadata]) -> None:
        self._answers: list[Any] = [{}, NotCoordinatorForGroupError(), answer]

    async def list_consumer_group_offsets(
        self, group: str, partitions: list[TopicPartition]
    ) -> dict[TopicPartition, OffsetAndMetadata]:
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[no-any-return]  # of the list above


async def test_a_coordinator_that_is_not_ready_is_not_taken_for_one_that_knows_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(group_offsets, "_COORDINATOR_RETRY_S", 0.0)
    place = TopicPartition("dead", 0)
    answer = {place: OffsetAndMetadata(7, "")}

    assert await group_offsets._when_ready(LoadingCoordinator(answer), "group", [place]) == answer
    monkeypatch.setattr(group_offsets, "REQUEST_TIMEOUT_MS", -1)
    with pytest.raises(GroupLoadInProgressError):
        await group_offsets._when_ready(LoadingCoordinator(answer), "group", [place])


async def test_a_broker_that_is_away_is_told() -> None:
    settings = Settings(brokers=f"127.0.0.1:{free_port()}")
    with pytest.raises(BrokerError, match="does not tell the offsets of the group group: "):
        await committed_offsets(settings, "group", [TopicPartition("dead", 0)])
