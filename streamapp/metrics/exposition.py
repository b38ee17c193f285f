"""The metrics as Prometheus reads them, and as the README shows them."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import Metric as Family
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from streamapp.health import Conditions
from streamapp.metrics.metric import WorkerParts
from streamapp.metrics.table import METRICS, READY, condition_samples

CONTENT_TYPE = CONTENT_TYPE_LATEST


def exposition(parts: WorkerParts | None, conditions: Conditions) -> bytes:
    """All metrics of this moment in Prometheus' text format.

    Args:
        parts: None before the worker is up: then there are `streamapp_ready` and those of the process alone.
        conditions: what must hold for it to be ready.
    """
    registry = CollectorRegistry()
    # One that waits for its broker at the start must raise the alert, too.
    families = (
        [READY.family_of(condition_samples(conditions))]
        if parts is None
        else [metric.family(parts) for metric in METRICS]
    )
    registry.register(_Families(families))
    ProcessCollector(registry=registry)
    return generate_latest(registry)


def markdown_table() -> str:
    """Every metric of ours, for the README."""
    lines = ["| Metric | Type | Labels | What it says |", "|---|---|---|---|"]
    for metric in METRICS:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        lines.append(f"| `{metric.name}` | {metric.kind} | {labels} | {metric.text} |")
    return "\n".join(lines)


class _Families(Collector):
    def __init__(self, families: Iterable[Family]) -> None:
        self._families = families

    def collect(self) -> Iterable[Family]:
        return self._families
