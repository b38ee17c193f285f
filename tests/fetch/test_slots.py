"""Who waits for whom."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from streamapp.fetch import slots as slots_module
from streamapp.fetch.slots import PROOF_FILES, Slots


@asynccontextmanager
async def holding(slots: Slots, *hosts: str) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for host in hosts:
            await stack.enter_async_context(slots.taken(host))
        yield


def prove(slots: Slots, host: str) -> None:
    """Let the host deliver until it is known."""
    for _ in range(PROOF_FILES):
        slots.delivered(host)


async def take(slots: Slots, host: str) -> None:
    async with slots.taken(host):
        pass


async def is_free(slots: Slots, host: str) -> bool:
    """Whether a slot can be had without waiting."""
    taking = asyncio.create_task(take(slots, host))
    # More turns of the loop than there are semaphores to take.
    for _ in range(10):
        await asyncio.sleep(0)
    if taking.done():
        return True
    taking.cancel()
    await asyncio.wait([taking])
    return False


async def test_a_crowd_at_one_host_leaves_slots_to_other_hosts() -> None:
    slots = Slots(in_all=8, per_host=2)
    async with holding(slots, "slow.example", "slow.example"):
        crowd = [asyncio.create_task(take(slots, "slow.example")) for _ in range(20)]
        assert not await is_free(slots, "slow.example")
        assert await is_free(slots, "quick.example")
        for one in crowd:
            one.cancel()
        await asyncio.wait(crowd)


async def test_no_more_than_all_slots_are_taken() -> None:
    slots = Slots(in_all=2, per_host=5)
    prove(slots, "known.example")
    async with holding(slots, "known.example", "known.example"):
        assert not await is_free(slots, "known.example")
        assert not await is_free(slots, "stranger.example")
    assert await is_free(slots, "stranger.example")


async def test_a_flood_of_strangers_leaves_half_of_the_slots_to_a_host_that_delivered() -> None:
    slots = Slots(in_all=8, per_host=8)
    prove(slots, "cdn.example")
    async with holding(slots, *(f"{i}.example" for i in range(4))):
        assert not await is_free(slots, "new.example")
        async with holding(slots, *["cdn.example"] * 3):
            assert await is_free(slots, "cdn.example")


async def test_one_stranger_leaves_slots_to_others() -> None:
    slots = Slots(in_all=8, per_host=8)
    async with holding(slots, "slow.example", "slow.example"):
        assert not await is_free(slots, "slow.example")
        assert await is_free(slots, "new.example")


async def test_a_host_is_known_only_after_many_files_without_a_failure() -> None:
    slots = Slots(in_all=8, per_host=8)
    for _ in range(PROOF_FILES - 1):
        slots.delivered("cdn.example")
    assert not slots.is_known("cdn.example")
    slots.failed("cdn.example")
    slots.delivered("cdn.example")
    assert not slots.is_known("cdn.example")
    prove(slots, "cdn.example")
    assert slots.is_known("cdn.example")


async def test_one_failure_does_not_make_a_stranger_of_a_busy_host_and_two_do() -> None:
    slots = Slots(in_all=8, per_host=8)
    for _ in range(1000):
        slots.delivered("cdn.example")
    slots.failed("cdn.example")
    assert slots.is_known("cdn.example")
    slots.failed("cdn.example")
    assert not slots.is_known("cdn.example")


async def test_where_the_operator_named_hosts_no_other_can_earn_their_place() -> None:
    slots = Slots(in_all=8, per_host=8, is_named=lambda host: host == "cdn.example")
    prove(slots, "hostile.example")
    assert not slots.is_known("hostile.example")
    assert slots.is_known("cdn.example")


async def test_a_host_that_the_operator_named_is_no_stranger() -> None:
    slots = Slots(in_all=2, per_host=2, is_named=lambda host: host == "cdn.example")
    async with holding(slots, "new.example"):
        assert not await is_free(slots, "other.example")
        assert await is_free(slots, "cdn.example")


async def test_a_single_slot_serves_strangers_too() -> None:
    slots = Slots(in_all=1, per_host=1)
    async with holding(slots, "a.example"):
        assert not await is_free(slots, "b.example")
    assert await is_free(slots, "b.example")


async def test_few_hosts_are_known_and_the_busy_ones_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots_module, "_MOST_KNOWN_HOSTS", 2)
    slots = Slots(in_all=2, per_host=1)
    for host in ("a.example", "b.example", "a.example", "c.example"):
        prove(slots, host)
    assert [slots.is_known(f"{name}.example") for name in "abc"] == [True, False, True]


async def test_a_host_that_nobody_asks_for_is_forgotten() -> None:
    slots = Slots(in_all=1, per_host=1)
    for i in range(3):
        async with slots.taken(f"{i}.example"):
            pass
    assert not slots._hosts


async def test_those_who_wait_as_strangers_go_on_when_their_host_delivers() -> None:
    slots = Slots(in_all=8, per_host=8)
    async with holding(slots, *(f"{i}.example" for i in range(4))):
        waiting = [asyncio.create_task(take(slots, "good.example")) for _ in range(3)]
        assert not await is_free(slots, "good.example")
        prove(slots, "good.example")
        await asyncio.wait_for(asyncio.gather(*waiting), 10)
