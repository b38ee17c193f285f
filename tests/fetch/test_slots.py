"""Who waits for whom."""

import asyncio

import pytest

from streamapp.fetch.slots import Slots


async def hold(slots: Slots, host: str, taken: asyncio.Event, release: asyncio.Event) -> None:
    async with slots.taken(host):
        taken.set()
        async with asyncio.timeout(5):
            await release.wait()


async def test_a_crowd_at_one_host_leaves_slots_to_other_hosts() -> None:
    slots = Slots(in_all=2, per_host=1)
    release = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        events = [asyncio.Event() for _ in range(3)]
        for event in events:
            group.create_task(hold(slots, "slow.example", event, release))
        async with asyncio.timeout(5):
            await events[0].wait()
            # Two more wait for the slow host. Had they a common slot, this would time out.
            async with slots.taken("quick.example"):
                assert not events[1].is_set()
        release.set()


async def test_no_more_than_all_slots_are_taken() -> None:
    slots = Slots(in_all=1, per_host=5)
    async with slots.taken("a.example"):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01), slots.taken("b.example"):
                pass
    async with asyncio.timeout(5), slots.taken("b.example"):
        pass


async def test_a_host_that_nobody_asks_for_is_forgotten() -> None:
    slots = Slots(in_all=1, per_host=1)
    for i in range(3):
        async with slots.taken(f"{i}.example"):
            pass
    assert not slots._hosts
