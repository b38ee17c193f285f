"""An event's span with its stages, and the spans of the batches that its frames ran in.

Imported only where traces are on (`streamapp.tracing`). Stages are timed where they run; their spans are
made once they are over, with those times. Names and attributes follow OpenTelemetry's conventions for
messaging; what they have no name for begins with ``streamapp.``. No span has a user's id, name or URL.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from opentelemetry import propagate
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import Getter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.util.types import Attributes

from streamapp import __version__
from streamapp.errors import FetchError, MediaError, PictureError
from streamapp.obtain import Obtained
from streamapp.settings import Settings

SCHEMA_URL = "https://opentelemetry.io/schemas/1.36.0"


class Tracing:
    """Begins the spans of a worker.

    Attributes:
        topics: outcome → topic that it is published to.
        clock_ns: nanoseconds since 1970.

    Args:
        provider: the SDK's; it decides which events are sampled.
    """

    def __init__(
        self, provider: TracerProvider, settings: Settings, clock_ns: Callable[[], int] = time.time_ns
    ) -> None:
        self._tracer = provider.get_tracer("streamapp", __version__, schema_url=SCHEMA_URL)
        self._group = settings.group
        self.clock_ns = clock_ns
        self.topics = {"rows": settings.results_topic, "dead letters": settings.dead_letter_topic}

    def begin(self, message: Any) -> "EventTrace | None":
        """Begin an event's span, below the one that its record's ``traceparent`` header names.

        Args:
            message: as Faust delivers it.

        Returns:
            None where the event is not sampled.
        """
        attributes: dict[str, str | int | bool] = {
            "messaging.system": "kafka",
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.destination.name": message.topic,
            "messaging.destination.partition.id": str(message.partition),
            "messaging.kafka.offset": message.offset,
            "messaging.consumer.group.name": self._group,
        }
        if message.value is None:
            attributes["messaging.kafka.message.tombstone"] = True
        else:
            attributes["messaging.message.body.size"] = len(message.value)
        started_ns = self.clock_ns()
        parent = propagate.extract(dict(message.headers or ()), Context(), _RecordHeaders())
        span = self._tracer.start_span(
            f"process {message.topic}", parent, SpanKind.CONSUMER, attributes, start_time=started_ns
        )
        return EventTrace(self, span, started_ns) if span.is_recording() else None

    def span(
        self,
        name: str,
        parent: Context,
        started_ns: int,
        ended_ns: int,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        error: str | None = None,
        attributes: Attributes = None,
        links: Sequence[SpanContext] = (),
        events: Mapping[str, int] | None = None,
    ) -> SpanContext:
        """Make the span of something that is over.

        Args:
            started_ns: as all times here nanoseconds since 1970.
            error: why it failed, in a word; None where it did not.
            events: name → time of what happened in it.
        """
        span = self._tracer.start_span(
            name,
            parent,
            kind,
            attributes,
            links=[Link(context) for context in links],
            start_time=started_ns,
        )
        for event, at_ns in (events or {}).items():
            span.add_event(event, timestamp=at_ns)
        if error is not None:
            _fail(span, error)
        span.end(max(started_ns, ended_ns))
        return span.get_span_context()

    def record_batch(
        self,
        network: str,
        frames: Sequence["EventTrace | None"],
        started_ns: int,
        error: BaseException | None = None,
    ) -> None:
        """Make the span of a batch that ran just now, with links to its events, and each event's share.

        It is part of its first event's trace: a trace of its own would be sampled by itself, and mostly
        be missing where its events are there.

        Args:
            frames: for each frame of the batch its event; None where that has no trace.
        """
        ended_ns = self.clock_ns()
        shares = Counter(event for event in frames if event is not None)
        if not shares:
            return
        first = next(iter(shares))
        problem = type(error).__name__ if error is not None else None
        batch = self.span(
            f"batch {network}",
            first.context,
            started_ns,
            ended_ns,
            error=problem,
            attributes={"streamapp.model": network, "streamapp.batch.frames": len(frames)},
            links=[event.span_context for event in shares],
        )
        for event, count in shares.items():
            event.ran(network, started_ns, ended_ns, frames=count, of=len(frames), batch=batch, error=problem)


class EventTrace:
    """The span of one event in flight and the times of its stages. Owned by the event loop's thread.

    Attributes:
        tracing: what makes the spans.
        context: the event's span as a parent.
    """

    __slots__ = ("_changed_ns", "_span", "_started_ns", "context", "tracing")

    def __init__(self, tracing: Tracing, span: Span, started_ns: int) -> None:
        self.tracing = tracing
        self.context = set_span_in_context(span, Context())
        self._span = span
        self._started_ns = started_ns
        # When the stage began that the event is in.
        self._changed_ns = started_ns

    @property
    def span_context(self) -> SpanContext:
        """The event's span as others link to it."""
        return self._span.get_span_context()

    def obtained(self, obtained: Obtained) -> None:
        """The picture is here, or the error in its place: fetch, decode and prepare are over.

        The fetch began when the event was taken; what came after it ended now. The gap between them is the
        wait for room and for a thread.
        """
        now_ns = self.tracing.clock_ns()
        prepare_ns = now_ns - _ns(obtained.prepare_s)
        decode_ns = prepare_ns - _ns(obtained.decode_s)
        fetched_ns = min(self._started_ns + _ns(obtained.fetch_s), decode_ns)
        self._stage(
            "fetch",
            self._started_ns,
            fetched_ns,
            error=_reason_of(obtained.error, FetchError),
            attributes={"streamapp.fetch.attempts": obtained.attempts},
        )
        if obtained.content is not None:
            size = {"streamapp.content.bytes": obtained.content.size_bytes}
            error = _reason_of(obtained.error, MediaError)
            self._stage("decode", decode_ns, prepare_ns, error=error, attributes=size)
        if obtained.picture is not None:
            frames = {"streamapp.frames": len(obtained.picture.frames)}
            self._stage("prepare", prepare_ns, now_ns, attributes=frames)
        self._changed_ns = now_ns

    def judging(self) -> None:
        """The event left the queue: from now on its frames wait for their batches."""
        now_ns = self.tracing.clock_ns()
        self._stage("queue", self._changed_ns, now_ns)
        self._changed_ns = now_ns

    def ran(
        self,
        network: str,
        started_ns: int,
        ended_ns: int,
        *,
        frames: int,
        of: int,
        batch: SpanContext,
        error: str | None,
    ) -> None:
        """Some of the event's frames ran in a batch of one network.

        Args:
            frames: how many.
            of: all frames of the batch.
        """
        self._stage(
            network,
            self._changed_ns,
            ended_ns,
            error=error,
            attributes={"streamapp.frames": frames, "streamapp.batch.frames": of},
            links=[batch],
            events={"batch started": started_ns},
        )

    def judged(self) -> None:
        """The row is composed: from now on it is on its way to the broker."""
        self._changed_ns = self.tracing.clock_ns()

    def end(self, outcome: str, reason: str | None = None) -> None:
        """The event has its outcome, or was lost to another worker.

        Args:
            outcome: ``rows``, ``dead letters``, ``pictures removed``, ``lost``.
            reason: why the row has no verdict, where it has none.
        """
        now_ns = self.tracing.clock_ns()
        topic = self.tracing.topics.get(outcome)
        if topic is not None:
            self._stage(
                f"send {topic}",
                self._changed_ns,
                now_ns,
                kind=SpanKind.PRODUCER,
                attributes={
                    "messaging.system": "kafka",
                    "messaging.operation.name": "send",
                    "messaging.operation.type": "send",
                    "messaging.destination.name": topic,
                },
            )
        self._span.set_attribute("streamapp.outcome", outcome)
        problem = "dead_letter" if outcome == "dead letters" else reason
        if problem is not None:
            _fail(self._span, problem)
        self._span.end(max(self._started_ns, now_ns))

    def _stage(self, name: str, started_ns: int, ended_ns: int, **about: Any) -> None:
        self.tracing.span(name, self.context, started_ns, ended_ns, **about)


class _RecordHeaders(Getter[Mapping[str, bytes | None]]):
    """How OpenTelemetry reads a Kafka record's headers."""

    def get(self, carrier: Mapping[str, bytes | None], key: str) -> list[str] | None:
        value = carrier.get(key)
        return None if value is None else [value.decode("ascii", "replace")]

    def keys(self, carrier: Mapping[str, bytes | None]) -> list[str]:
        return list(carrier)


def _fail(span: Span, error: str) -> None:
    span.set_attribute("error.type", error)
    span.set_status(Status(StatusCode.ERROR, error))


def _reason_of(error: PictureError | None, kind: type[PictureError]) -> str | None:
    return error.reason.value if isinstance(error, kind) else None


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)
