"""One metric, and the parts of a worker that its values are read from."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.core import Metric as Family

from streamapp.agents.download import DownloadStage, Looked
from streamapp.agents.inference import InferenceStage
from streamapp.agents.intake import Intake
from streamapp.engine import Engine
from streamapp.health import Conditions
from streamapp.histogram import Histogram
from streamapp.watchdog import Pulse


@dataclass(frozen=True, slots=True)
class WorkerParts:
    """The parts of a worker that is up: where the values come from.

    Attributes:
        model_version: MODEL_VERSION of its rows.
        ready: the queue between the stages.
        consumer: a `BoundedConsumer`; untyped, as Faust is.
        rebalances: how many there were.
        conditions: what must hold for it to be ready.
    """

    model_version: str
    intake: Intake
    download: DownloadStage
    inference: InferenceStage
    ready: asyncio.Queue[Looked]
    engine: Engine
    consumer: Any
    pulse: Pulse
    rebalances: Callable[[], int]
    conditions: Callable[[], Conditions]


Value = float | Histogram
Sample = tuple[Sequence[str], Value]
Read = Callable[[WorkerParts], Iterable[Sample]]


@dataclass(frozen=True, slots=True)
class Metric:
    """One line of the table.

    Attributes:
        name: in PromQL, its unit included; a histogram's without ``_bucket``, ``_sum``, ``_count``.
        text: one sentence.
        read: the values of this moment, each with its labels.
        labels: their names.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    text: str
    read: Read
    labels: tuple[str, ...] = ()

    def family(self, parts: WorkerParts) -> Family:
        """The metric with its values of this moment, as prometheus_client has it."""
        return self.family_of(self.read(parts))

    def family_of(self, samples: Iterable[Sample]) -> Family:
        """The metric with these values."""
        if self.kind == "histogram":
            histogram = HistogramMetricFamily(self.name, self.text, labels=self.labels)
            for labels, value in samples:
                assert isinstance(value, Histogram)
                histogram.add_metric(labels, value.cumulative(), value.sum)
            return histogram
        make = CounterMetricFamily if self.kind == "counter" else GaugeMetricFamily
        family = make(self.name, self.text, labels=self.labels)
        for labels, value in samples:
            assert not isinstance(value, Histogram)
            family.add_metric(labels, value)
        return family
