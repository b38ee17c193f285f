"""Histograms as Prometheus counts: cumulative, a bound included."""

from prometheus_client import CollectorRegistry
from prometheus_client import Histogram as TheirHistogram

from streamapp.histogram import Histogram

VALUES = (0.0, 0.5, 1.0, 1.5, 2.0, 7.0)


def test_it_counts_as_prometheus_own_does() -> None:
    ours = Histogram((0.5, 1.0, 2.0))
    registry = CollectorRegistry()
    theirs = TheirHistogram("x", "x", buckets=(0.5, 1.0, 2.0), registry=registry)
    for value in VALUES:
        ours.observe(value)
        theirs.observe(value)

    for bound, count in ours.cumulative():
        text = bound if bound == "+Inf" else str(float(bound))
        assert count == registry.get_sample_value("x_bucket", {"le": text})
    assert ours.sum == registry.get_sample_value("x_sum") == sum(VALUES)
