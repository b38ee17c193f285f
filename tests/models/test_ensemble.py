"""Models behind their batchers: every picture gets one outcome from each model, errors stay alone."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import pytest
from fakes import (
    BrightnessModel,
    FailingModel,
    HangingModel,
    TaggingModel,
    WeightlessModel,
    picture_of,
)

from streamapp.batching import BatchTimeoutError, DeviceLostError
from streamapp.errors import WeightsError
from streamapp.models.base import AnyModel, Model
from streamapp.models.ensemble import Ensemble, ModelReport
from streamapp.models.runner import ModelRunner
from streamapp.reasons import Reason, Status


@pytest.fixture
def cpu() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as executor:
        yield executor


@asynccontextmanager
async def ensemble_of(
    cpu: ThreadPoolExecutor, *models: AnyModel, instances: int = 1, timeout_s: float = 30.0
) -> AsyncIterator[Ensemble]:
    runners = [
        ModelRunner(
            lambda model=model: model,  # type: ignore[misc]
            cpu,
            instances=instances,
            max_queued=16,
            max_wait_s=0.0,
            timeout_s=timeout_s,
        )
        for model in models
    ]
    async with Ensemble(runners) as ensemble:
        yield ensemble


async def look(ensemble: Ensemble, *values: int) -> list[ModelReport]:
    """What the models say of a picture with a frame for each value."""
    return await ensemble.look(ensemble.prepare(picture_of(*values).frames))


async def test_every_frame_gets_its_own_finding(cpu: ThreadPoolExecutor) -> None:
    async with ensemble_of(cpu, BrightnessModel()) as ensemble, asyncio.timeout(20):
        reports = await asyncio.gather(*(look(ensemble, value, value + 100) for value in range(50)))

    for value, (report,) in enumerate(reports):
        assert report.outcome.verdict is not None
        assert report.outcome.verdict.columns == {"NN_SAFE_SCORES": f"{255 - value}, {155 - value}"}
        assert 1 <= report.batch <= 4


async def test_frames_of_different_pictures_share_a_batch(cpu: ThreadPoolExecutor) -> None:
    model = BrightnessModel()
    async with ensemble_of(cpu, model) as ensemble, asyncio.timeout(20):
        await asyncio.gather(*(look(ensemble, value) for value in range(40)))

    assert sum(len(batch) for batch in model.batches) == 40
    assert max(len(batch) for batch in model.batches) > 1


async def test_a_model_is_loaded_warmed_up_and_run_on_one_thread_of_its_own(cpu: ThreadPoolExecutor) -> None:
    model = BrightnessModel()
    async with ensemble_of(cpu, model) as ensemble:
        await look(ensemble, 1)

    assert model.is_warm
    assert model.threads == {"nudenet-0_0"}


class LanedModel(BrightnessModel):
    """Runs on two threads at the same time, and knows which it has loaded and warmed up on."""

    lanes = 2

    def __init__(self) -> None:
        super().__init__()
        self.warm: list[str] = []

    def warm_up(self) -> None:
        self.warm.append(threading.current_thread().name)


async def test_a_model_is_loaded_once_and_warmed_up_on_each_of_its_threads(cpu: ThreadPoolExecutor) -> None:
    model = LanedModel()
    async with ensemble_of(cpu, model):
        assert model.threads == {"nudenet-0_0"}
        assert model.warm == ["nudenet-0_0", "nudenet-1_0"]


async def test_a_model_warms_up_in_every_size_that_it_will_run_in(cpu: ThreadPoolExecutor) -> None:
    class PlainModel(BrightnessModel):
        warm_up = Model.warm_up

    model = PlainModel()
    async with ensemble_of(cpu, model):
        assert [len(batch) for batch in model.batches] == [1, 2, 4]


@pytest.mark.parametrize("stage", ["prepare", "infer", "finish", "judge", "describe"])
async def test_a_picture_on_which_a_model_raises_fails_alone(cpu: ThreadPoolExecutor, stage: str) -> None:
    async with ensemble_of(cpu, FailingModel(stage), TaggingModel()) as ensemble, asyncio.timeout(20):
        reports = await asyncio.gather(*(look(ensemble, value) for value in range(10, 18)))

    for value, (failing, tagging) in zip(range(10, 18), reports, strict=True):
        if value == 13:
            assert failing.outcome.status is Status.MODEL_RAISED
            assert failing.outcome.to_be_moderated
            assert failing.reason is Reason.MODEL_RAISED
        else:
            assert failing.outcome.succeeded
        assert tagging.outcome.succeeded


async def test_one_bad_frame_fails_its_picture(cpu: ThreadPoolExecutor) -> None:
    async with ensemble_of(cpu, FailingModel("infer")) as ensemble, asyncio.timeout(20):
        (report,) = await look(ensemble, 1, 13, 2)

    assert report.outcome.status is Status.MODEL_RAISED


async def test_what_a_model_points_at_is_described_for_each_frame(cpu: ThreadPoolExecutor) -> None:
    async with ensemble_of(cpu, BrightnessModel()) as ensemble, asyncio.timeout(20):
        (report,) = await look(ensemble, 5, 250)

    assert report.detections == [[], [{"label": "bright", "score": 250}]]
    assert report.outcome.to_be_moderated


async def test_a_model_that_hangs_is_raised_so_that_the_worker_ends(cpu: ThreadPoolExecutor) -> None:
    model = HangingModel()
    try:
        async with ensemble_of(cpu, model, timeout_s=0.05) as ensemble:
            with pytest.raises(BatchTimeoutError, match=f"{model.name} hangs: A batch of 1 did"):
                await look(ensemble, 1)
    finally:
        model.release.set()


class LostModel(BrightnessModel):
    """Raises on whatever it is given."""

    def infer(self, batch: Sequence[int]) -> Sequence[int]:
        raise RuntimeError("CUDA error")


async def test_a_model_that_lost_its_device_is_raised_and_no_picture_fails_for_it(
    cpu: ThreadPoolExecutor,
) -> None:
    async with ensemble_of(cpu, LostModel()) as ensemble, asyncio.timeout(20):
        looks = await asyncio.gather(*(look(ensemble, value) for value in range(10)), return_exceptions=True)

    assert [type(outcome) for outcome in looks] == [DeviceLostError] * 10


async def test_missing_weights_are_raised_when_the_models_are_loaded(cpu: ThreadPoolExecutor) -> None:
    with pytest.raises(WeightsError):
        async with ensemble_of(cpu, WeightlessModel()):
            pass


async def test_models_that_are_loaded_are_closed_where_another_can_not_be(cpu: ThreadPoolExecutor) -> None:
    model = BrightnessModel()
    with pytest.raises(WeightsError):
        async with ensemble_of(cpu, model, WeightlessModel()):
            pass

    assert model.is_warm
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert not [thread for thread in threading.enumerate() if is_waiting_for_work(thread)]


def is_waiting_for_work(thread: threading.Thread) -> bool:
    """Whether it is a model's thread that goes on although nobody will give it work."""
    if thread.name.startswith("nudenet-"):
        thread.join(10)
    return thread.name.startswith("nudenet-") and thread.is_alive()


@pytest.mark.parametrize("reason", [Reason.TIMEOUT, Reason.BROKEN_FILE, Reason.NO_KEY_FRAME])
async def test_without_a_picture_every_model_reports_the_reason(
    cpu: ThreadPoolExecutor, reason: Reason
) -> None:
    async with ensemble_of(cpu, BrightnessModel(), TaggingModel()) as ensemble:
        moderating, tagging = ensemble.failed(reason)

    assert (moderating.outcome.status, tagging.outcome.status) == (reason.status, reason.status)
    assert moderating.outcome.to_be_moderated
    assert not tagging.outcome.to_be_moderated
