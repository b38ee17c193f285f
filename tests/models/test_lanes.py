"""The threads of a network: what they measure, and how a lost device is told from bad pictures."""

import asyncio
import threading
import weakref
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from fakes import BrightnessModel, FailingModel, HangingModel

from streamapp.batching import DeviceLostError
from streamapp.models.lanes import Lanes


class LosingModel(FailingModel):
    """Raises on frames of value 13; once its device is lost, on whatever it is given, also its own frame."""

    def __init__(self) -> None:
        super().__init__("infer")
        self.is_lost = False
        self.trials = 0

    def try_out(self) -> None:
        self.trials += 1
        super().try_out()

    def infer(self, batch: Sequence[int]) -> Sequence[int]:
        if self.is_lost:
            raise RuntimeError("CUDA error: device-side assert triggered")
        return super().infer(batch)


class Activations:
    """What a batch takes on the device until the last reference to it is gone."""


class HoardingModel(BrightnessModel):
    """Runs out of memory in the midst of a batch of more than one frame."""

    def __init__(self) -> None:
        super().__init__()
        self.activations: list[weakref.ref[Activations]] = []

    def infer(self, batch: Sequence[int]) -> Sequence[int]:
        try:
            return self._layer(batch)
        except MemoryError as exc:
            raise RuntimeError("CUDA out of memory") from exc

    def _layer(self, batch: Sequence[int]) -> Sequence[int]:
        activations = Activations()
        self.activations.append(weakref.ref(activations))
        if len(batch) > 1:
            raise MemoryError
        return super().infer(batch)


class HangingModelThatTells(HangingModel):
    """Sets `begun` when it hangs."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = threading.Event()

    def infer(self, batch: Sequence[int]) -> Sequence[int]:
        self.begun.set()
        return super().infer(batch)


class ExhaustedModel(BrightnessModel):
    """Looks for the first detection of a frame that has none."""

    def infer(self, batch: Sequence[int]) -> Sequence[int]:
        return [next(value for value in batch if value > 255)]

    def try_out(self) -> None:
        """Works."""


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


async def test_a_device_that_is_lost_is_told_before_any_frame_is_blamed() -> None:
    model = LosingModel()
    async with lanes_of(model) as lanes:
        model.is_lost = True
        with pytest.raises(DeviceLostError, match="nudenet fails on a frame of its own"):
            await lanes.infer([1])


async def test_a_device_that_is_lost_among_bad_pictures_is_told_all_the_same() -> None:
    model = LosingModel()
    async with lanes_of(model) as lanes:
        for _ in range(20):
            with pytest.raises(ValueError):
                await lanes.infer([13])
        model.is_lost = True
        with pytest.raises(DeviceLostError):
            await lanes.infer([13])


async def test_a_crowd_of_bad_pictures_does_not_end_the_worker_and_costs_one_trial_for_each() -> None:
    model = LosingModel()
    async with lanes_of(model) as lanes:
        for batch in ([13, 1, 1, 13], [13, 1], [1, 13]):
            with pytest.raises(ValueError):
                await lanes.infer(batch)
        assert model.trials == 0, "the batcher repeats them in halves: nobody is blamed yet"
        for _ in range(20):
            with pytest.raises(ValueError):
                await lanes.infer([13])
        await lanes.infer([1])

    assert model.trials == 20


async def test_what_a_failed_batch_held_is_free_before_its_halves_are_tried() -> None:
    model = HoardingModel()
    async with lanes_of(model) as lanes:
        with pytest.raises(RuntimeError, match="out of memory") as raised:
            await lanes.infer([1, 2])

    assert raised.value.__traceback__ is not None, "the error is alive, as it is while the batcher repeats"
    assert [held() for held in model.activations] == [None]


async def test_an_error_that_is_its_own_cause_is_raised_as_any_other() -> None:
    class CircularModel(BrightnessModel):
        def infer(self, batch: Sequence[int]) -> Sequence[int]:
            if batch != [13]:
                return super().infer(batch)
            error = RuntimeError("round and round")
            raise error from error

    async with lanes_of(CircularModel()) as lanes, asyncio.timeout(20):
        with pytest.raises(RuntimeError, match="round and round"):
            await lanes.infer([13])


async def test_a_next_that_finds_nothing_is_an_error_and_no_hang() -> None:
    model = ExhaustedModel()
    async with lanes_of(model) as lanes, asyncio.timeout(20):
        with pytest.raises(RuntimeError, match="nudenet raised StopIteration"):
            await lanes.infer([1])
