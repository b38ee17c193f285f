"""The deadline of a download, whose clock stands still while the caller has no room."""

import asyncio
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from streamapp.fetch.deadline import Deadline, PausableClock

Advance = Callable[[float], None]


@pytest.fixture
async def advance(monkeypatch: pytest.MonkeyPatch) -> Advance:
    """Turns the event loop's clock on."""
    loop = asyncio.get_running_loop()
    loop_time = loop.time
    ahead_s = 0.0

    def turn_on(seconds: float) -> None:
        nonlocal ahead_s
        ahead_s += seconds

    monkeypatch.setattr(loop, "time", lambda: loop_time() + ahead_s)
    return turn_on


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_block_that_takes_too_long_is_ended(advance: Advance) -> None:
    deadline = Deadline(PausableClock(), 60)
    with pytest.raises(TimeoutError):
        async with deadline:
            assert 59 < deadline.left_s() <= 60
            advance(61)
            await asyncio.Event().wait()
    assert deadline.has_expired


async def test_time_in_which_the_clock_stands_still_does_not_count(advance: Advance) -> None:
    clock = PausableClock()
    deadline = Deadline(clock, 60)
    with pytest.raises(TimeoutError):
        async with deadline:
            with clock.paused():
                advance(10_000)
                await settle()
                assert 59 < deadline.left_s() <= 60
            advance(50)
            await settle()
            advance(11)
            await asyncio.Event().wait()


async def test_pauses_that_overlap_count_once(advance: Advance) -> None:
    clock = PausableClock()
    async with Deadline(clock, 60) as deadline:
        with ExitStack() as first, ExitStack() as second:
            first.enter_context(clock.paused())
            advance(100)
            second.enter_context(clock.paused())
            advance(100)
            first.close()
            advance(100)
        assert 59 < deadline.left_s() <= 60


async def test_a_deadline_that_is_lifted_ends_nothing(advance: Advance) -> None:
    async with Deadline(PausableClock(), 60) as deadline:
        deadline.lift()
        advance(1000)
        await settle()
    assert not deadline.has_expired


async def test_a_cancellation_from_outside_is_no_timeout() -> None:
    async def hang() -> None:
        async with Deadline(PausableClock(), 60):
            await asyncio.Event().wait()

    hanging = asyncio.create_task(hang())
    await settle()
    hanging.cancel()
    with pytest.raises(asyncio.CancelledError):
        await hanging
