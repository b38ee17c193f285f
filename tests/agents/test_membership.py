"""What ends a worker that would stand there and take no event; the broker is real, its member a stand-in."""

import asyncio
from dataclasses import dataclass

import pytest

from streamapp.agents import membership
from streamapp.agents.membership import watch_membership
from streamapp.errors import BrokerError
from streamapp.local.broker import free_port
from streamapp.settings import Settings
from streamapp.topics import ensure_topics

TIMEOUT_S = 30
LOOK_EVERY_S = 0.001


@dataclass
class LookedAfterMember:
    """Has found the coordinator, or not, from a look on."""

    finds_at_look: int | None = None
    error: BaseException | None = None
    looks: int = 0

    @property
    def has_broker(self) -> bool:
        self.looks += 1
        return self.finds_at_look is not None and self.looks >= self.finds_at_look

    def refusal(self) -> BaseException | None:
        return self.error


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(membership, "LOOKS_WITHOUT", 3)
    monkeypatch.setattr(membership, "ASK_EVERY_S", 0.05)


async def watch(member: LookedAfterMember, settings: Settings, *, is_ending: bool = False) -> None:
    await watch_membership(member, settings, lambda: is_ending, look_every_s=LOOK_EVERY_S)


async def until_looked(member: LookedAfterMember, looks: int, watching: asyncio.Task[None]) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while member.looks < looks:
            assert not watching.done(), watching.result()
            await asyncio.sleep(0.01)
    watching.cancel()


async def test_a_member_out_of_reach_of_a_coordinator_that_answers_others_is_an_error(
    kafka_settings: Settings,
) -> None:
    await ensure_topics(kafka_settings)
    member = LookedAfterMember()
    with pytest.raises(BrokerError, match="answers, but this worker's consumer has not reached it"):
        await asyncio.wait_for(watch(member, kafka_settings), TIMEOUT_S)

    # Not for the first answer: one try of aiokafka's to connect may take longer than that.
    assert member.looks > membership.ANSWERS_TO_OTHERS * membership.LOOKS_WITHOUT


async def test_a_member_that_finds_its_coordinator_in_time_is_none(kafka_settings: Settings) -> None:
    await ensure_topics(kafka_settings)
    member = LookedAfterMember(finds_at_look=membership.LOOKS_WITHOUT + 2)
    watching = asyncio.create_task(watch(member, kafka_settings))
    await until_looked(member, 50, watching)


async def test_a_broker_that_answers_nobody_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    member = LookedAfterMember()
    settings = Settings(brokers=f"127.0.0.1:{free_port()}")
    watching = asyncio.create_task(watch(member, settings))
    done, _ = await asyncio.wait({watching}, timeout=0.5)
    assert not done
    watching.cancel()

    assert caplog.text.count("does not answer") == 1


async def test_a_topic_that_went_missing_ends_a_worker_that_has_nothing_to_do(
    kafka_settings: Settings,
) -> None:
    with pytest.raises(BrokerError, match="has no topic"):
        await asyncio.wait_for(watch(LookedAfterMember(), kafka_settings), TIMEOUT_S)


async def test_a_refusal_ends_the_worker_unless_it_ends_anyway() -> None:
    refused = LookedAfterMember(error=RuntimeError("GroupAuthorizationFailedError"))
    with pytest.raises(BrokerError, match="keeps this worker out of the group"):
        await asyncio.wait_for(watch(refused, Settings()), TIMEOUT_S)

    watching = asyncio.create_task(watch(refused, Settings(), is_ending=True))
    await until_looked(refused, 50, watching)
