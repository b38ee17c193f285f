"""The table of metrics, and what it says of a worker without Kafka (tests/end_to_end has one with it)."""

import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from streamapp.health import Situation, ready
from streamapp.metrics import METRICS, Metric, exposition, markdown_table


def test_a_worker_that_is_not_up_yet_says_that_it_is_not_ready() -> None:
    text = exposition(None, ready(Situation(is_broker_there=False))).decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}

    assert "process_resident_memory_bytes" in families
    assert [name for name in families if name.startswith("streamapp_")] == ["streamapp_ready"]
    values = {one.labels["condition"]: one.value for one in families["streamapp_ready"].samples}
    assert (values["broker"], values["models"], values["drain"]) == (0.0, 0.0, 1.0)


def test_every_metric_is_there_once_and_in_the_readme() -> None:
    names = [metric.name for metric in METRICS]

    assert len(set(names)) == len(names)
    assert [name for name in names if f"| `{name}` |" not in markdown_table()] == []


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_name_follows_the_conventions_of_prometheus(metric: Metric) -> None:
    assert re.fullmatch(r"streamapp_[a-z]+(_[a-z]+)*", metric.name)
    assert metric.name.endswith("_total") is (metric.kind == "counter")
    assert metric.text.endswith(".")
