"""The metrics as Prometheus reads them, and as the README shows them."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import Metric as Family
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from streamapp.metrics.metric import WorkerParts
from streamapp.metrics.table import METRICS

CONTENT_TYPE = CONTENT_TYPE_LATEST


def exposition(parts: WorkerParts | None) -> bytes:
    """All metrics of this moment in Prometheus' text format.

    Args:
        parts: None before the worker is up: then there are those of the process alone.
    """
    registry = CollectorRegistry()
    if parts is not None:
        registry.register(_WorkerCollector(parts))
    ProcessCollector(registry=registry)
    return generate_latest(registry)


def markdown_table() -> str:
    """Every metric of ours, for the README."""
    lines = ["| Metric | Type | Labels | What it says |", "|---|---|---|---|"]
    for metric in METRICS:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        lines.append(f"| `{metric.name}` | {metric.kind} | {labels} | {metric.text} |")
    return "\n".join(lines)


class _WorkerCollector(Collector):
    def __init__(self, parts: WorkerParts) -> None:
        self._parts = parts

    def collect(self) -> Iterable[Family]:
        return [metric.family(self._parts) for metric in METRICS]
