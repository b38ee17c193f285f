"""Turns at even distances, by a clock of the test's own."""

from streamapp.pace import Pace


class Clock:
    """Goes on only while someone sleeps."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.is_late_by_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        self.now_s += seconds + self.is_late_by_s


async def turns(pace: Pace, clock: Clock, count: int) -> list[float]:
    at = []
    for _ in range(count):
        await pace.turn()
        at.append(round(clock.now_s - 100, 3))
    return at


async def test_turns_come_at_even_distances() -> None:
    clock = Clock()
    assert await turns(Pace(4, clock, clock.sleep), clock, 5) == [0, 0.25, 0.5, 0.75, 1.0]


async def test_waits_that_end_late_do_not_lower_the_rate() -> None:
    clock = Clock()
    clock.is_late_by_s = 0.01
    at = await turns(Pace(10, clock, clock.sleep), clock, 101)

    assert 9.9 < at[-1] < 10.1


async def test_a_hold_up_is_not_made_up_for_by_a_burst() -> None:
    clock = Clock()
    pace = Pace(10, clock, clock.sleep)
    await turns(pace, clock, 1)
    clock.now_s += 60
    at = await turns(pace, clock, 21)

    assert at[-1] - at[0] > 1.7


async def test_without_a_rate_nobody_waits() -> None:
    clock = Clock()
    assert set(await turns(Pace(None, clock, clock.sleep), clock, 1000)) == {0}
