"""Whose turn it is among hosts that nobody knows."""

import asyncio

from streamapp.fetch.strangers import StrangerSlots

TIMEOUT_S = 10


def waiter(slots: StrangerSlots, host: str) -> asyncio.Task[bool]:
    return asyncio.create_task(slots.take(host))


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_host_named_once_does_not_wait_behind_one_named_often() -> None:
    slots = StrangerSlots(in_all=1, per_host=1)
    assert await slots.take("crowd.example")
    crowd = [waiter(slots, "crowd.example") for _ in range(5)]
    await settle()
    single = waiter(slots, "single.example")
    await settle()

    slots.give_back("crowd.example")
    await settle()
    slots.give_back("crowd.example")  # the first of the crowd is done, too
    assert await asyncio.wait_for(single, TIMEOUT_S)
    assert [one.done() for one in crowd] == [True, False, False, False, False]
    for one in crowd:
        one.cancel()
    await asyncio.wait(crowd)


async def test_those_who_wait_for_a_host_that_becomes_known_go_on_without_a_slot() -> None:
    slots = StrangerSlots(in_all=1, per_host=1)
    assert await slots.take("slow.example")
    waiting = [waiter(slots, "good.example") for _ in range(3)]
    await settle()

    slots.welcome("good.example")
    assert await asyncio.wait_for(asyncio.gather(*waiting), TIMEOUT_S) == [False] * 3
    slots.give_back("slow.example")
    assert await asyncio.wait_for(slots.take("other.example"), TIMEOUT_S)


async def test_one_host_takes_no_more_than_its_share() -> None:
    slots = StrangerSlots(in_all=3, per_host=2)
    assert await slots.take("a.example") and await slots.take("a.example")
    third = waiter(slots, "a.example")
    await settle()

    assert not third.done()
    assert await asyncio.wait_for(slots.take("b.example"), TIMEOUT_S)
    slots.give_back("b.example")  # still not a.example's
    await settle()
    assert not third.done()
    slots.give_back("a.example")
    assert await asyncio.wait_for(third, TIMEOUT_S)


async def test_a_slot_that_comes_with_the_cancellation_goes_to_the_next() -> None:
    slots = StrangerSlots(in_all=1, per_host=1)
    assert await slots.take("a.example")
    cancelled, next_one = waiter(slots, "b.example"), waiter(slots, "c.example")
    await settle()

    slots.give_back("a.example")  # b.example's now, but its task has not run yet
    cancelled.cancel()
    await asyncio.wait([cancelled])
    assert cancelled.cancelled()
    assert await asyncio.wait_for(next_one, TIMEOUT_S)


async def test_one_who_is_cancelled_while_waiting_is_forgotten() -> None:
    slots = StrangerSlots(in_all=1, per_host=1)
    assert await slots.take("a.example")
    cancelled = waiter(slots, "b.example")
    await settle()
    cancelled.cancel()
    await asyncio.wait([cancelled])

    slots.give_back("a.example")
    assert not slots._waiting and not slots._held
    assert await asyncio.wait_for(slots.take("c.example"), TIMEOUT_S)


async def test_a_slot_is_not_lost_to_one_who_was_cancelled_and_has_not_noticed_yet() -> None:
    slots = StrangerSlots(in_all=1, per_host=1)
    assert await slots.take("a.example")
    cancelled, next_one = waiter(slots, "b.example"), waiter(slots, "b.example")
    await settle()

    cancelled.cancel()
    slots.give_back("a.example")  # before the cancelled task has run
    assert await asyncio.wait_for(next_one, TIMEOUT_S)
    await asyncio.wait([cancelled])
