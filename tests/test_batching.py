"""The micro-batcher: how batches form, and that every item gets its own outcome exactly once."""

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamapp.batching import (
    BatcherClosedError,
    BatchTimeoutError,
    DeviceLostError,
    MicroBatcher,
    Outcome,
)

FOREVER_S = 3600.0


class SquaringModel:
    """Answers depend on the items, so a misplaced answer shows. Raises on the items in `poison`."""

    def __init__(self, poison: frozenset[int] = frozenset()) -> None:
        self.poison = poison
        self.batches: list[list[int]] = []

    async def run(self, batch: list[int]) -> list[int]:
        self.batches.append(batch)
        await asyncio.sleep(0)
        if self.poison & set(batch):
            raise ValueError(f"poison among {batch}")
        return [item * item for item in batch]


class GatedModel(SquaringModel):
    """Runs nothing until the gate opens."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.started = asyncio.Event()

    async def run(self, batch: list[int]) -> list[int]:
        self.started.set()
        await self.gate.wait()
        return await super().run(batch)


def batcher(
    model: SquaringModel,
    *,
    sizes: Sequence[int] = (1, 2, 4, 8),
    max_wait_s: float = FOREVER_S,
    max_queued: int = 100,
    timeout_s: float = FOREVER_S,
    slots: int = 1,
) -> MicroBatcher[int, int]:
    return MicroBatcher(
        model.run, sizes=sizes, max_wait_s=max_wait_s, max_queued=max_queued, timeout_s=timeout_s, slots=slots
    )


async def submit_all(to: MicroBatcher[int, int], items: Sequence[int]) -> list[Outcome[int]]:
    async with asyncio.timeout(20):
        return await asyncio.gather(*(to.submit(item) for item in items))


async def test_a_full_batch_runs_without_waiting() -> None:
    model = SquaringModel()
    async with batcher(model) as batch:
        outcomes = await submit_all(batch, range(8))

    assert [outcome.answer for outcome in outcomes] == [item * item for item in range(8)]
    assert model.batches == [list(range(8))]
    assert {outcome.batch for outcome in outcomes} == {8}


async def test_a_part_batch_runs_when_its_oldest_item_has_waited_long_enough() -> None:
    model = SquaringModel()
    async with batcher(model, max_wait_s=0.001) as batch:
        outcomes = await submit_all(batch, [5])

    assert outcomes[0].answer == 25
    assert outcomes[0].queue_s >= 0.001


async def test_batches_have_only_the_allowed_sizes() -> None:
    model = SquaringModel()
    async with batcher(model, max_wait_s=0.0) as batch:
        await submit_all(batch, range(23))

    assert {len(items) for items in model.batches} <= {1, 2, 4, 8}
    assert sorted(item for items in model.batches for item in items) == list(range(23))


async def test_items_that_arrive_while_a_batch_runs_join_the_next_one() -> None:
    model = GatedModel()
    async with batcher(model, max_wait_s=0.0) as batch:
        first = asyncio.create_task(batch.submit(1))
        await model.started.wait()
        later = [asyncio.create_task(batch.submit(item)) for item in (2, 3, 4, 5)]
        await asyncio.sleep(0)
        model.gate.set()
        async with asyncio.timeout(20):
            await asyncio.gather(first, *later)

    assert model.batches == [[1], [2, 3, 4, 5]]


async def test_one_bad_item_fails_alone() -> None:
    model = SquaringModel(poison=frozenset({5}))
    async with batcher(model) as batch:
        outcomes = await submit_all(batch, range(8))

    assert [outcome.answer for outcome in outcomes] == [0, 1, 4, 9, 16, None, 36, 49]
    assert isinstance(outcomes[5].error, ValueError)
    assert all(outcome.error is None for index, outcome in enumerate(outcomes) if index != 5)


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(1, 40),
    poison=st.frozensets(st.integers(0, 39), max_size=6),
    sizes=st.sampled_from([(1,), (1, 2, 4, 8), (1, 4, 11), (1, 3, 7), (1, 16)]),
    slots=st.integers(1, 3),
    max_queued=st.integers(1, 50),
)
def test_every_item_gets_its_own_outcome(
    count: int, poison: frozenset[int], sizes: tuple[int, ...], slots: int, max_queued: int
) -> None:
    async def run() -> None:
        model = SquaringModel(poison)
        async with batcher(model, sizes=sizes, slots=slots, max_queued=max_queued, max_wait_s=0.0) as batch:
            outcomes = await submit_all(batch, range(count))
        for item, outcome in enumerate(outcomes):
            if item in poison:
                assert isinstance(outcome.error, ValueError)
            else:
                assert (outcome.answer, outcome.error) == (item * item, None)
        assert all(len(items) in sizes for items in model.batches)

    asyncio.run(run())


async def test_a_wrong_number_of_answers_is_an_error_of_every_item() -> None:
    async def forgetful(batch: list[int]) -> list[int]:
        return batch[1:]

    async with MicroBatcher(
        forgetful, sizes=(1, 2), max_wait_s=FOREVER_S, max_queued=9, timeout_s=FOREVER_S
    ) as batch:
        outcomes = await submit_all(batch, [1, 2])

    assert all("came back as 0. This is a bug." in str(outcome.error) for outcome in outcomes)


async def test_a_batch_that_hangs_gives_its_items_a_timeout() -> None:
    model = GatedModel()
    async with batcher(model, max_wait_s=0.0, timeout_s=0.01) as batch:
        outcome = await batch.submit(1)

    assert isinstance(outcome.error, BatchTimeoutError)


async def test_a_lost_device_is_the_error_of_every_item_that_is_left_and_nothing_more_is_run() -> None:
    runs = []

    async def lost(batch: list[int]) -> list[int]:
        runs.append(batch)
        # As a network's lane does: the device is told from the picture where one is alone.
        raise DeviceLostError if len(batch) == 1 else RuntimeError("CUDA error")

    async with MicroBatcher(
        lost, sizes=(1, 2, 4), max_wait_s=FOREVER_S, max_queued=9, timeout_s=FOREVER_S
    ) as batch:
        outcomes = await submit_all(batch, [1, 2, 3, 4])
        outcomes += await submit_all(batch, [5, 6, 7, 8])

    assert runs == [[1, 2, 3, 4], [1, 2], [1]]
    assert all(isinstance(outcome.error, DeviceLostError) for outcome in outcomes)


async def test_the_wait_of_every_item_is_counted() -> None:
    async with batcher(SquaringModel(), sizes=(1, 2)) as batch:
        await submit_all(batch, [1, 2, 3, 4])

    assert sum(batch.queue_s.counts) == 4


async def test_a_timeout_that_the_model_raises_itself_is_an_error_of_its_own() -> None:
    async def raises_timeout(batch: list[int]) -> list[int]:
        raise TimeoutError("mine")

    async with MicroBatcher(
        raises_timeout, sizes=(1,), max_wait_s=0.0, max_queued=9, timeout_s=FOREVER_S
    ) as batch:
        outcome = await batch.submit(1)

    assert type(outcome.error) is TimeoutError


async def test_the_queue_is_bounded() -> None:
    model = GatedModel()
    async with batcher(model, max_wait_s=0.0, max_queued=3) as batch:
        submitters = [asyncio.create_task(batch.submit(item)) for item in range(10)]
        await model.started.wait()
        for _ in range(20):
            await asyncio.sleep(0)
            assert batch.queued <= 3
        model.gate.set()
        async with asyncio.timeout(20):
            await asyncio.gather(*submitters)

    assert sorted(item for items in model.batches for item in items) == list(range(10))


async def test_a_cancelled_item_leaves_the_queue_and_makes_room() -> None:
    model = GatedModel()
    async with batcher(model, max_wait_s=0.0, max_queued=1) as batch:
        running = asyncio.create_task(batch.submit(1))
        await model.started.wait()
        waiting = asyncio.create_task(batch.submit(2))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        third = asyncio.create_task(batch.submit(3))
        await asyncio.sleep(0)
        model.gate.set()
        async with asyncio.timeout(20):
            await asyncio.gather(running, third)

    assert model.batches == [[1], [3]]


async def test_the_only_waiting_item_may_be_cancelled() -> None:
    model = SquaringModel()
    async with batcher(model, sizes=(1, 2), max_wait_s=FOREVER_S) as batch:
        lonely = asyncio.create_task(batch.submit(1))
        await asyncio.sleep(0)
        lonely.cancel()
        await asyncio.gather(lonely, return_exceptions=True)
        outcomes = await submit_all(batch, [2, 3])

    assert [outcome.answer for outcome in outcomes] == [4, 9]
    assert model.batches == [[2, 3]]


async def test_closing_runs_what_is_queued_without_waiting_for_company() -> None:
    model = SquaringModel()
    batch = await batcher(model).__aenter__()
    submitters = [asyncio.create_task(batch.submit(item)) for item in range(5)]
    await asyncio.sleep(0)
    await batch.close(timeout_s=20)

    assert [(await task).answer for task in submitters] == [0, 1, 4, 9, 16]


async def test_closing_gives_up_on_a_batch_that_hangs() -> None:
    model = GatedModel()
    batch = await batcher(model, max_wait_s=0.0, sizes=(1,)).__aenter__()
    submitters = [asyncio.create_task(batch.submit(item)) for item in range(3)]
    await model.started.wait()
    await batch.close(timeout_s=0.01)

    async with asyncio.timeout(20):
        outcomes = await asyncio.gather(*submitters, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [BatcherClosedError] * 3


async def test_a_closed_batcher_takes_nothing() -> None:
    batch = await batcher(SquaringModel()).__aenter__()
    await batch.close(timeout_s=1)

    with pytest.raises(BatcherClosedError):
        await batch.submit(1)


@pytest.mark.parametrize("sizes", [(), (2, 4), (1, 1), (1, 8, 4)])
def test_batch_sizes_that_do_not_ascend_from_one_are_refused(sizes: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="ascend from 1"):
        batcher(SquaringModel(), sizes=sizes)
