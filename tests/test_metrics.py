"""The table of metrics, and what it says of a worker without Kafka (tests/end_to_end has one with it)."""

import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from streamapp.metrics import METRICS, Metric, exposition, markdown_table


def test_before_the_worker_is_up_there_are_the_process_own_metrics() -> None:
    names = {family.name for family in text_string_to_metric_families(exposition(None).decode())}

    assert "process_resident_memory_bytes" in names
    assert not [name for name in names if name.startswith("streamapp_")]


def test_every_metric_is_there_once_and_in_the_readme() -> None:
    names = [metric.name for metric in METRICS]

    assert len(set(names)) == len(names)
    assert [name for name in names if f"| `{name}` |" not in markdown_table()] == []


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_name_follows_the_conventions_of_prometheus(metric: Metric) -> None:
    assert re.fullmatch(r"streamapp_[a-z]+(_[a-z]+)*", metric.name)
    assert metric.name.endswith("_total") is (metric.kind == "counter")
    assert metric.text.endswith(".")
