"""What a worker tells Prometheus: read from its counters when it is asked, at no cost for an event.

The README's table of metrics is made from what `exposition` would send.
"""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from streamapp.agents.intake import KINDS, Intake
from streamapp.reasons import Reason

CONTENT_TYPE = CONTENT_TYPE_LATEST


class WorkerMetrics(Collector):
    """The metrics of one worker; every label of the closed lists is there from the start, as 0."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    def collect(self) -> Iterable[Metric]:
        """All metrics with their values of this moment."""
        intake = self._intake
        outcomes = CounterMetricFamily(
            "streamapp_events", "Events that have their outcome, by its kind.", labels=["outcome"]
        )
        for kind in KINDS:
            outcomes.add_metric([kind.replace(" ", "_")], intake.outcomes[kind])
        yield outcomes
        reasons = CounterMetricFamily(
            "streamapp_rows_without_verdict",
            "Rows that at least one model has no verdict for, by the reason.",
            labels=["reason"],
        )
        for reason in Reason:
            reasons.add_metric([reason], intake.reasons[reason])
        yield reasons
        for name, text, value in (
            ("streamapp_events_in_flight", "Events without an outcome.", intake.in_flight),
            ("streamapp_pictures_in_flight", "Pictures downloaded and not yet judged.", intake.pictures),
            ("streamapp_events_unacked", "Events taken and not yet acked to Faust.", intake.unacked),
        ):
            yield GaugeMetricFamily(name, text, value)


def exposition(intake: Intake) -> bytes:
    """The metrics in Prometheus' text format, with those of the process (CPU, memory, descriptors)."""
    registry = CollectorRegistry()
    registry.register(WorkerMetrics(intake))
    ProcessCollector(registry=registry)
    return generate_latest(registry)
