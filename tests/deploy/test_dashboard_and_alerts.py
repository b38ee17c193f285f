"""The Grafana dashboard and the Prometheus alerts ask for nothing that a worker does not tell."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, ProcessCollector
from promql import Demand, demand_of

from streamapp.agents.intake import KINDS
from streamapp.health import Situation, ready
from streamapp.metrics import METRICS
from streamapp.reasons import Reason

ROOT = Path(__file__).parents[2]
DASHBOARD = json.loads((ROOT / "deploy/grafana/streamapp.json").read_text("utf-8"))
ALERTS_FILE = ROOT / "deploy/prometheus/alerts.yml"
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load(ALERTS_FILE.read_text("utf-8"))["groups"] for rule in group["rules"]
]
SCRAPING = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text("utf-8"))
(JOB,) = (job["job_name"] for job in SCRAPING["scrape_configs"])
# What Prometheus adds when it scrapes.
SCRAPE_LABELS = {"job", "instance"}
LABEL_VALUES = {
    "outcome": {kind.replace(" ", "_") for kind in KINDS},
    "reason": {reason.value for reason in Reason},
    "condition": set(ready(Situation())),
    "job": {JOB},
}


def samples_of_a_worker() -> dict[str, set[str]]:
    """Sample name → its labels, of all that Prometheus has of a worker."""
    samples = {metric.name: set(metric.labels) for metric in METRICS if metric.kind != "histogram"}
    for metric in METRICS:
        if metric.kind == "histogram":
            samples[f"{metric.name}_bucket"] = {*metric.labels, "le"}
            samples |= {f"{metric.name}_{part}": set(metric.labels) for part in ("sum", "count")}
    families = ProcessCollector(registry=CollectorRegistry()).collect()
    samples |= {sample.name: set(sample.labels) for family in families for sample in family.samples}
    return samples | {"up": set()}


SAMPLES = samples_of_a_worker()


def panels() -> list[dict[str, Any]]:
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def expressions() -> Iterator[Any]:
    """Every expression, by where it stands."""
    for rule in RULES:
        yield pytest.param(rule["expr"], id=rule["alert"])
    for panel in panels():
        for target in panel["targets"]:
            yield pytest.param(target["expr"], id=f"{panel['title']} {target['refId']}")
    for annotation in DASHBOARD["annotations"]["list"]:
        if "expr" in annotation:
            yield pytest.param(annotation["expr"], id=annotation["name"])


def check(demand: Demand) -> None:
    """Everything that an expression asks for is there."""
    assert demand.metrics and demand.metrics <= set(SAMPLES)
    for metric, labels in demand.matched.items():
        assert labels <= SAMPLES[metric] | SCRAPE_LABELS
    assert demand.grouped <= SCRAPE_LABELS.union(*(SAMPLES[metric] for metric in demand.metrics))
    for label, value in demand.values:
        assert value in LABEL_VALUES[label]


@pytest.mark.parametrize("expression", list(expressions()))
def test_an_expression_asks_for_metrics_labels_and_values_that_are_there(expression: str) -> None:
    check(demand_of(expression))


@pytest.mark.parametrize(
    "expression",
    [
        "streamapp_event_total",
        'streamapp_events_total{kind="rows"}',
        'streamapp_events_total{outcome="dead letters"}',
        'streamapp_rows_without_verdict_total{reason=~"timeout|timed_out"}',
        "sum by (reason) (streamapp_events_total)",
        "rate(streamapp_event_seconds[5m])",
        "1 / 0",
    ],
)
def test_the_check_finds_what_is_not_there(expression: str) -> None:
    with pytest.raises(AssertionError):
        check(demand_of(expression))


def test_an_expression_is_read_as_prometheus_reads_it() -> None:
    expression = """
        time() - max by (instance) (a_total{job=~"$job", reason=~"x|y", text="b{c} or d"}[5m] offset 1h) > 1e3
          and on (job) absent(b == bool 0x1F)
    """
    assert demand_of(expression) == Demand(
        metrics=frozenset({"a_total", "b"}),
        matched={"a_total": frozenset({"job", "reason", "text"})},
        values=frozenset({("reason", "x"), ("reason", "y"), ("text", "b{c} or d")}),
        grouped=frozenset({"instance", "job"}),
    )


def test_an_unknown_function_is_refused() -> None:
    with pytest.raises(ValueError, match="rated"):
        demand_of("rated(up[5m])")


# The dashboard.


def test_every_metric_but_the_info_is_on_the_dashboard_or_in_an_alert() -> None:
    shown = set().union(*(demand_of(param.values[0]).metrics for param in expressions()))
    samples = {
        metric.name: {metric.name, *(f"{metric.name}_{part}" for part in ("bucket", "sum", "count"))}
        for metric in METRICS
    }
    assert [name for name, names in samples.items() if not names & shown] == ["streamapp_info"]


def test_the_dashboard_can_be_imported_anywhere() -> None:
    assert DASHBOARD["uid"] == "streamapp-workers"
    assert DASHBOARD["id"] is None
    variables = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    sources = [part["datasource"] for panel in panels() for part in (panel, *panel["targets"])]
    assert {source["uid"] for source in sources} == {"${datasource}"}


def test_the_dashboards_variables_are_those_that_it_uses_and_come_from_a_metric_that_is_there() -> None:
    variables = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
    used = set(re.findall(r"\$\{?([a-z]\w*)", json.dumps(DASHBOARD)))
    assert used == set(variables)
    for name in ("job", "instance"):
        query = variables[name]["query"]["query"]
        ((metric, label),) = re.findall(r"^label_values\((\w+)(?:\{.*\})?, (\w+)\)$", query)
        assert metric in SAMPLES
        assert label == name


def test_a_legend_names_labels_that_its_expression_keeps() -> None:
    for panel in panels():
        for target in panel["targets"]:
            named = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            demand = demand_of(target["expr"])
            kept = demand.grouped or SCRAPE_LABELS.union(*(SAMPLES[metric] for metric in demand.metrics))
            assert named <= kept, panel["title"]


def test_panels_have_titles_of_their_own_and_do_not_overlap() -> None:
    titles = [panel["title"] for panel in DASHBOARD["panels"]]
    assert len(set(titles)) == len(titles)
    taken = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells


# The alerts.


@pytest.mark.parametrize("rule", [pytest.param(rule, id=rule["alert"]) for rule in RULES])
def test_an_alert_says_how_urgent_it_is_what_happened_and_what_to_do(rule: dict[str, Any]) -> None:
    assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert set(rule["annotations"]) == {"summary", "description"}
    named = set(re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"])))
    demand = demand_of(rule["expr"])
    assert named <= SCRAPE_LABELS | demand.grouped


def test_alerts_have_names_of_their_own() -> None:
    names = [rule["alert"] for rule in RULES]
    assert len(set(names)) == len(names)


# By Prometheus itself.


@pytest.fixture(scope="module")
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool, of Prometheus, is not on the PATH")
    return found


def run(*command: str) -> None:
    """Run a command in this folder; it must succeed."""
    done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_takes_the_configuration_with_the_alerts(promtool: str) -> None:
    run(promtool, "check", "config", str(ROOT / "deploy/prometheus/prometheus.yml"))


def test_the_alerts_fire_when_they_should_and_not_otherwise(promtool: str) -> None:
    run(promtool, "test", "rules", "alerts.test.yml")


def test_prometheus_takes_every_expression_of_the_dashboard(promtool: str, tmp_path: Path) -> None:
    texts = [param.values[0].replace("$__rate_interval", "5m") for param in expressions()]
    rules = [{"record": f"panel:{index}", "expr": text} for index, text in enumerate(texts)]
    file = tmp_path / "dashboard.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    run(promtool, "check", "rules", str(file))
