"""The threads of a network: what they measure, and how a lost device is told from bad pictures."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from fakes import BrightnessModel, FailingModel, HangingModel

from streamapp.batching import DeviceLostError
from streamapp.models.lanes import FAILURES_BEFORE_TRIAL, Lanes


class LosingModel(FailingModel):
    """Raises on frames of value 13; once its device is lost, on whatever it is given, also its own."""

    def __init__(self) -> None:
        super().__init__("infer")
        self.is_lost = False
        self.trials = 0

    def warm_up(self) -> None:
        self.trials += 1
        self.infer([0])

    def infer(self, batch: Sequence[int]) -> Sequence[int]:
        if self.is_lost:
            raise RuntimeError("CUDA error: device-side assert triggered")
        return super().infer(batch)


class HangingModelThatTells(HangingModel):
    """Sets `begun` when it hangs."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = threading.Event()

    def infer(self, batch: Sequence[int]) -> Sequence[int]:
        self.begun.set()
        return super().infer(batch)


@asynccontextmanager
async def lanes_of(model: BrightnessModel) -> AsyncIterator[Lanes]:
    lanes = Lanes(lambda: model, 1)
    try:
        await lanes.load_and_warm_up()
        yield lanes
    finally:
        lanes.end()


async def test_batches_are_counted_and_timed() -> None:
    async with lanes_of(FailingModel("infer")) as lanes:
        for batch in ([1], [2, 3], [4, 5, 6]):
            await lanes.infer(batch)
        with pytest.raises(ValueError):
            await lanes.infer([13])

    assert lanes.batch_frames.cumulative()[:3] == [("1", 1), ("2", 2), ("4", 3)]
    assert sum(lanes.batch_s.counts) == 3
    assert lanes.failed_batches == 1


async def test_a_batch_that_runs_is_seen_to_run_even_when_nobody_waits_for_it_any_more() -> None:
    model = HangingModelThatTells()
    async with lanes_of(model) as lanes:
        assert lanes.running_s == 0
        task = asyncio.create_task(lanes.infer([1]))
        assert await asyncio.to_thread(model.begun.wait, 20)
        task.cancel()
        await asyncio.wait({task})
        assert lanes.running_s > 0
        model.release.set()
        async with asyncio.timeout(20):
            while lanes.running_s:
                await asyncio.sleep(0)


async def test_a_network_that_fails_on_its_own_picture_too_has_lost_its_device() -> None:
    model = LosingModel()
    async with lanes_of(model) as lanes:
        model.is_lost = True
        for _ in range(FAILURES_BEFORE_TRIAL - 1):
            with pytest.raises(RuntimeError, match="CUDA error"):
                await lanes.infer([1])
        with pytest.raises(DeviceLostError, match="nudenet failed on 8 batches in a row"):
            await lanes.infer([1])


async def test_a_crowd_of_bad_pictures_does_not_end_the_worker_nor_keep_it_busy_with_trials(
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = LosingModel()
    async with lanes_of(model) as lanes:
        with caplog.at_level(logging.WARNING):
            for _ in range(5 * FAILURES_BEFORE_TRIAL):
                with pytest.raises(ValueError):
                    await lanes.infer([13])
        await lanes.infer([1])

    assert model.trials == 2  # the warm-up and one more
    assert "the pictures are to blame" in caplog.text


async def test_a_success_between_failures_begins_the_count_anew() -> None:
    model = LosingModel()
    async with lanes_of(model) as lanes:
        for _ in range(3):
            for _ in range(FAILURES_BEFORE_TRIAL - 1):
                with pytest.raises(ValueError):
                    await lanes.infer([13])
            await lanes.infer([1])

    assert model.trials == 1
