"""What the spans of batches say, and how they and the events' are linked."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

from fakes import BrightnessModel, FailingModel, picture_of
from kept_spans import TAKEN_NS, Traces, attributes_of

from streamapp.models.ensemble import Ensemble
from streamapp.models.runner import ModelRunner

TIMEOUT_S = 10


def test_a_batch_links_to_the_events_in_it_and_they_to_it() -> None:
    traces = Traces()
    first, second = traces.begin(offset=1), traces.begin(offset=2)
    traces.tracing.record_batch("clip", [None, first, second, first], TAKEN_NS)

    spans = traces.exporter.get_finished_spans()
    (batch,) = [span for span in spans if span.name == "batch clip"]
    assert [link.context for link in batch.links] == [first.span_context, second.span_context]
    assert attributes_of(batch) == {"streamapp.model": "clip", "streamapp.batch.frames": 4}
    shares = [span for span in spans if span.name == "clip"]
    assert [span.parent for span in shares] == [first.span_context, second.span_context]
    assert [[link.context for link in span.links] for span in shares] == [[batch.context]] * 2
    assert [attributes_of(span)["streamapp.frames"] for span in shares] == [2, 1]


def test_a_batch_that_raised_is_an_error_of_its_span() -> None:
    traces = Traces()
    traces.tracing.record_batch("clip", [traces.begin()], TAKEN_NS, ValueError("13"))

    assert {name: span.status.description for name, span in traces.spans.items()} == {
        "batch clip": "ValueError",
        "clip": "ValueError",
    }


def test_a_batch_of_events_without_traces_has_no_span() -> None:
    traces = Traces()
    traces.tracing.record_batch("clip", [None, None], TAKEN_NS)

    assert not traces.spans


@asynccontextmanager
async def ensemble_of(model: type[BrightnessModel] | Any) -> AsyncIterator[Ensemble]:
    """One network that waits for two frames."""
    with ThreadPoolExecutor(2) as cpu:
        runner = ModelRunner(model, cpu, instances=1, max_queued=8, max_wait_s=TIMEOUT_S, timeout_s=TIMEOUT_S)
        async with Ensemble([runner]) as ensemble:
            yield ensemble


class PairModel(BrightnessModel):
    """Runs frames in pairs."""

    batch_sizes = (1, 2)


class FailingPairModel(FailingModel):
    """Runs frames in pairs, and raises on those of value 13."""

    batch_sizes = (1, 2)

    def __init__(self) -> None:
        super().__init__("infer")


async def test_the_ensemble_tells_which_events_a_batch_ran_for() -> None:
    traces = Traces()
    first, second = traces.begin(offset=1), traces.begin(offset=2)
    async with ensemble_of(PairModel) as ensemble:
        await asyncio.gather(
            ensemble.look(ensemble.prepare(picture_of(1).frames), first),
            ensemble.look(ensemble.prepare(picture_of(2).frames), second),
        )

    (batch,) = [span for span in traces.exporter.get_finished_spans() if span.name == "batch nudenet"]
    assert [link.context for link in batch.links] == [first.span_context, second.span_context]


async def test_a_batch_that_is_repeated_in_halves_has_a_span_for_each_run() -> None:
    traces = Traces()
    first, second = traces.begin(offset=1), traces.begin(offset=2)
    async with ensemble_of(FailingPairModel) as ensemble:
        await asyncio.gather(
            ensemble.look(ensemble.prepare(picture_of(13).frames), first),
            ensemble.look(ensemble.prepare(picture_of(2).frames), second),
        )

    runs = [span for span in traces.exporter.get_finished_spans() if span.name == "batch nudenet"]
    assert [(len(span.links), span.status.description) for span in runs] == [
        (2, "ValueError"),
        (1, "ValueError"),
        (1, None),
    ]
