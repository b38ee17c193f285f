"""How many requests one host gets in a second."""

import asyncio

import pytest

from streamapp.errors import FetchError
from streamapp.fetch.rate import RateLimit
from streamapp.reasons import Reason

HOST = "cdn.example"


class Time:
    """A clock that only sleepers turn on; they come and go in the order of their ends."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)
        self.now_s += seconds


@pytest.fixture
def time() -> Time:
    return Time()


async def turns(limit: RateLimit, time: Time, count: int, host: str = HOST) -> list[float]:
    """When each of so many requests got its turn, in seconds."""
    moments = []

    async def request() -> None:
        await limit.turn(host, within_s=1000.0)
        moments.append(round(time.now_s, 6))

    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            group.create_task(request())
    return moments


async def test_requests_to_one_host_come_at_even_distances(time: Time) -> None:
    limit = RateLimit(2.0, time, time.sleep)
    assert await turns(limit, time, 4) == [0.0, 0.5, 1.0, 1.5]


async def test_another_host_has_a_limit_of_its_own(time: Time) -> None:
    limit = RateLimit(1.0, time, time.sleep)
    await turns(limit, time, 3)
    assert await turns(limit, time, 1, "other.example") == [2.0]


async def test_what_was_not_used_is_not_saved_up(time: Time) -> None:
    async def hang_at_first(seconds: float) -> None:
        hanging.append(seconds)
        await (asyncio.Event().wait() if len(hanging) == 1 else time.sleep(seconds))

    hanging: list[float] = []
    limit = RateLimit(1.0, time, hang_at_first)
    # Somebody who waits since before keeps the others from being forgotten.
    await limit.turn("other.example", 1000.0)
    waiting = asyncio.create_task(limit.turn("other.example", 1000.0))
    await asyncio.sleep(0)
    await turns(limit, time, 1)
    time.now_s = 100.0
    assert await turns(limit, time, 3) == [100.0, 100.9, 101.9]
    assert len(limit._queues) == 2
    waiting.cancel()
    await asyncio.wait([waiting])


async def test_waits_that_end_late_do_not_lower_the_rate(time: Time) -> None:
    async def sleep_late(seconds: float) -> None:
        await time.sleep(seconds + 0.02)

    limit = RateLimit(10.0, time, sleep_late)
    assert (await turns(limit, time, 11))[-1] == pytest.approx(1.0, abs=0.021)


async def test_without_a_limit_nobody_waits(time: Time) -> None:
    assert await turns(RateLimit(None, time, time.sleep), time, 1000) == [0.0] * 1000


async def test_whoever_gives_up_takes_no_turn_away() -> None:
    clock = Time()
    is_released = asyncio.Event()

    async def sleep(seconds: float) -> None:
        async with asyncio.timeout(10):
            await is_released.wait()
        clock.now_s += seconds

    limit = RateLimit(1.0, clock, sleep)
    await limit.turn(HOST, 10.0)
    given_up = [asyncio.create_task(limit.turn(HOST, 10.0)) for _ in range(5)]
    staying = asyncio.create_task(limit.turn(HOST, 10.0))
    await asyncio.sleep(0)
    for task in given_up:
        task.cancel()
    await asyncio.wait(given_up)
    is_released.set()
    await staying
    assert clock.now_s == 1.0


async def test_a_wait_beyond_the_deadline_fails_at_once(time: Time) -> None:
    limit = RateLimit(1.0, time, time.sleep)
    await limit.turn(HOST, 10.0)
    with pytest.raises(FetchError, match="wait for their turn") as caught:
        await limit.turn(HOST, 0.5)
    assert caught.value.reason is Reason.RATE_LIMITED
    assert time.now_s == 0.0
    await limit.turn(HOST, 1.5)
    assert time.now_s == 1.0


async def test_hosts_that_are_idle_are_forgotten(time: Time) -> None:
    limit = RateLimit(1.0, time, time.sleep)
    for i in range(100):
        await limit.turn(f"{i}.example", 10.0)
        time.now_s += 2.0
        assert len(limit._queues) <= 2
