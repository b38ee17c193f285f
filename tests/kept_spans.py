"""A worker's tracing whose spans the test keeps, by a clock that the test sets."""

from dataclasses import dataclass, field
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler

from streamapp.settings import load_settings
from streamapp.spans import EventTrace, Tracing

SETTINGS = load_settings({"STREAMAPP_GROUP": "moderation", "STREAMAPP_RESULTS_TOPIC": "rows"})
SECOND_NS = 1_000_000_000
TAKEN_NS = 1_655_777_884 * SECOND_NS


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
