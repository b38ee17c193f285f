"""What the spans of events say."""

from typing import Any

import pytest
from fakes import picture_of
from kept_spans import SECOND_NS, SETTINGS, TAKEN_NS, Message, Traces, attributes_of, times_of
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode

from streamapp.errors import FetchError, MediaError
from streamapp.obtain import Content, Obtained
from streamapp.reasons import Reason

CONTENT = Content("00" * 32, 81223)
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


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
