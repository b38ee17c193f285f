"""The metrics as Prometheus reads them, and as the README shows them."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from streamapp.health import Conditions
from streamapp.metrics.metric import WorkerParts
from streamapp.metrics.table import METRICS

CONTENT_TYPE = CONTENT_TYPE_LATEST


def exposition(parts: WorkerParts | None, conditions: Conditions) -> bytes:
    """All metrics of this moment in Prometheus' text format.

    Args:
        parts: None before the worker is up: then there are `streamapp_ready` and those of the process alone.
        conditions: what must hold for it to be ready.
    """
    registry = CollectorRegistry()
    registry.register(_StartCollector(conditions) if parts is None else _WorkerCollector(parts))
    ProcessCollector(registry=registry)
    return generate_latest(registry)


def markdown_table() -> str:
    """Every metric of ours, for the README."""
    lines = ["| Metric | Type | Labels | What it says |", "|---|---|---|---|"]
    for metric in METRICS:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        lines.append(f"| `{metric.name}` | {metric.kind} | {labels} | {metric.text} |")
    return "\n".join(lines)


class _StartCollector(Collector):
    """Of a worker that is not up yet: one that waits for its broker must raise the alert, too."""

    def __init__(self, conditions: Conditions) -> None:
        self._conditions = conditions

    def collect(self) -> Iterable[Family]:
        metric = next(metric for metric in METRICS if metric.name == "streamapp_ready")
        family = GaugeMetricFamily(metric.name, metric.text, labels=metric.labels)
        for name, seen in self._conditions.items():
            family.add_metric((name,), float(seen.holds))
        return [family]


class _WorkerCollector(Collector):
    def __init__(self, parts: WorkerParts) -> None:
        self._parts = parts

    def collect(self) -> Iterable[Family]:
        return [metric.family(self._parts) for metric in METRICS]
