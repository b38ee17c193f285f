"""What the spans of events and batches say."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from fakes import BrightnessModel, FailingModel, picture_of
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler
from opentelemetry.trace import SpanKind, StatusCode

from streamapp.errors import FetchError, MediaError
from streamapp.models.ensemble import Ensemble
from streamapp.models.runner import ModelRunner
from streamapp.obtain import Content, Obtained
from streamapp.reasons import Reason
from streamapp.settings import load_settings
from streamapp.spans import EventTrace, Tracing

TIMEOUT_S = 10
SETTINGS = load_settings({"STREAMAPP_GROUP": "moderation", "STREAMAPP_RESULTS_TOPIC": "rows"})
SECOND_NS = 1_000_000_000
TAKEN_NS = 1_655_777_884 * SECOND_NS
CONTENT = Content("00" * 32, 81223)
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@dataclass
class Message:
    """A record as Faust delivers it."""

    offset: int = 41210
    partition: int = 3
    value: bytes | None = b'{"user_id": "7"}'
    headers: Any = field(default_factory=list)
    topic: str = "modify_user"


class SteppedClock:
    """Says the time that it was set to."""

    def __init__(self) -> None:
        self.now_ns = TAKEN_NS

    def __call__(self) -> int:
        return self.now_ns

    def at(self, seconds: float) -> None:
        """Set it to so many seconds after the event was taken."""
        self.now_ns = TAKEN_NS + int(seconds * SECOND_NS)


class Traces:
    """A worker's tracing whose spans end up in memory."""

    def __init__(self, sampler: Sampler = ALWAYS_ON) -> None:
        self.clock = SteppedClock()
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracing = Tracing(provider, SETTINGS, self.clock)

    def begin(self, **message: Any) -> EventTrace:
        trace = self.tracing.begin(Message(**message))
        assert trace is not None
        return trace

    @property
    def spans(self) -> dict[str, ReadableSpan]:
        """Name → span; the names must be different."""
        spans = {span.name: span for span in self.exporter.get_finished_spans()}
        assert len(spans) == len(self.exporter.get_finished_spans())
        return spans


def times_of(span: ReadableSpan) -> tuple[float, float]:
    """Seconds from the taking of the event to the span's start and end."""
    assert span.start_time is not None and span.end_time is not None
    return (span.start_time - TAKEN_NS) / SECOND_NS, (span.end_time - TAKEN_NS) / SECOND_NS


def attributes_of(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def test_an_event_and_its_stages_have_their_exact_times() -> None:
    traces = Traces()
    trace = traces.begin()
    traces.clock.at(2.0)
    trace.obtained(
        Obtained(picture_of(1, 2), None, (), CONTENT, attempts=2, fetch_s=0.5, decode_s=0.25, prepare_s=0.125)
    )
    traces.clock.at(3.0)
    trace.judging()
    traces.clock.at(5.0)
    traces.tracing.record_batch("nudenet", [trace, trace, None], TAKEN_NS + 4 * SECOND_NS)
    traces.clock.at(6.0)
    trace.judged()
    traces.clock.at(7.0)
    trace.end("rows")

    spans = traces.spans
    assert {name: times_of(span) for name, span in spans.items()} == {
        "fetch": (0, 0.5),
        "decode": (1.625, 1.875),
        "prepare": (1.875, 2),
        "queue": (2, 3),
        "batch nudenet": (4, 5),
        "nudenet": (3, 5),
        "send rows": (6, 7),
        "process modify_user": (0, 7),
    }
    root = spans["process modify_user"]
    assert root.parent is None
    assert all(span.parent == root.context for span in spans.values() if span is not root)
    assert attributes_of(spans["fetch"]) == {"streamapp.fetch.attempts": 2}
    assert attributes_of(spans["decode"]) == {"streamapp.content.bytes": 81223}
    assert attributes_of(spans["prepare"]) == {"streamapp.frames": 2}
    assert attributes_of(spans["nudenet"]) == {"streamapp.frames": 2, "streamapp.batch.frames": 3}
    (started,) = spans["nudenet"].events
    assert (started.name, started.timestamp) == ("batch started", TAKEN_NS + 4 * SECOND_NS)
    assert {span.status.status_code for span in spans.values()} == {StatusCode.UNSET}


def test_an_events_span_follows_the_conventions_for_messaging_and_has_nothing_of_the_user() -> None:
    traces = Traces()
    traces.begin().end("rows")

    span = traces.spans["process modify_user"]
    assert span.kind is SpanKind.CONSUMER
    assert attributes_of(span) == {
        "messaging.system": "kafka",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "modify_user",
        "messaging.destination.partition.id": "3",
        "messaging.kafka.offset": 41210,
        "messaging.consumer.group.name": "moderation",
        "messaging.message.body.size": 16,
        "streamapp.outcome": "rows",
    }
    sent = traces.spans["send rows"]
    assert sent.kind is SpanKind.PRODUCER
    assert attributes_of(sent)["messaging.destination.name"] == "rows"


@pytest.mark.parametrize(
    "headers",
    [[("traceparent", PARENT.encode())], {"traceparent": PARENT.encode(), "other": None}],
    ids=["list", "dict"],
)
def test_the_trace_of_the_record_goes_on(headers: Any) -> None:
    traces = Traces()
    traces.begin(headers=headers).end("rows")

    span = traces.spans["process modify_user"]
    assert span.parent is not None
    assert f"{span.parent.trace_id:032x}-{span.parent.span_id:016x}" == PARENT[3:-3]
    assert span.context.trace_id == span.parent.trace_id


@pytest.mark.parametrize("value", [b"", b"\xff\xfe", b"00-00-00-00", b"x" * 100_000, None])
def test_an_event_with_a_bad_trace_header_has_a_trace_of_its_own(value: bytes | None) -> None:
    traces = Traces()
    traces.begin(headers=[("traceparent", value)]).end("rows")

    assert traces.spans["process modify_user"].parent is None


def test_an_event_that_is_not_sampled_has_no_trace() -> None:
    assert Traces(ALWAYS_OFF).tracing.begin(Message()) is None


@pytest.mark.parametrize(
    ("obtained", "reason", "stages", "failed"),
    [
        (Obtained(None, FetchError(Reason.NOT_FOUND, "404"), fetch_s=0.5), "not_found", {"fetch"}, "fetch"),
        (
            Obtained(None, MediaError(Reason.BROKEN_FILE, "cut"), content=CONTENT),
            "broken_file",
            {"fetch", "decode"},
            "decode",
        ),
    ],
)
def test_a_row_without_a_verdict_shows_where_it_failed_and_why(
    obtained: Obtained, reason: str, stages: set[str], failed: str
) -> None:
    traces = Traces()
    trace = traces.begin()
    trace.obtained(obtained)
    trace.judging()
    trace.judged()
    trace.end("rows", reason)

    spans = traces.spans
    assert set(spans) == stages | {"queue", "send rows", "process modify_user"}
    in_error = {name for name, span in spans.items() if span.status.status_code is StatusCode.ERROR}
    assert in_error == {failed, "process modify_user"}
    for name in in_error:
        assert spans[name].status.description == reason
        assert attributes_of(spans[name])["error.type"] == reason


@pytest.mark.parametrize(
    ("outcome", "error", "names"),
    [
        ("dead letters", "dead_letter", {f"send {SETTINGS.dead_letter_topic}"}),
        ("pictures removed", None, set()),
        ("lost", None, set()),
    ],
)
def test_every_way_in_which_an_event_ends_is_told(outcome: str, error: str | None, names: set[str]) -> None:
    traces = Traces()
    traces.begin(value=None).end(outcome)

    span = traces.spans["process modify_user"]
    assert attributes_of(span)["streamapp.outcome"] == outcome
    assert attributes_of(span)["messaging.kafka.message.tombstone"] is True
    assert span.status.description == error
    assert set(traces.spans) == names | {"process modify_user"}


def test_a_clock_that_is_set_back_makes_no_span_of_negative_length() -> None:
    traces = Traces()
    trace = traces.begin()
    traces.clock.at(-5)
    trace.obtained(Obtained(picture_of(1), None, (), CONTENT))
    trace.end("rows")

    for span in traces.spans.values():
        start_s, end_s = times_of(span)
        assert start_s <= end_s


# Batches.


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
