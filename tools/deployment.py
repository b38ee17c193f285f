"""Writes what is generated under deploy/ and in docs/platform-engineer.md: `make docs`.

Tests compare it with what it is made from.
"""

from pathlib import Path
from typing import Any

import yaml
from readme import exits_table

from streamapp.plan import Aims, Load, Worker, plan
from streamapp.settings import Settings

ROOT = Path(__file__).parents[1]
ALERTS = ROOT / "deploy/prometheus/alerts.yml"
PROMETHEUS_RULE = ROOT / "deploy/kubernetes/components/monitoring/prometheus-rule.yaml"
PAGE = ROOT / "docs/platform-engineer.md"

# Events a second at the peak; frames a second of one worker.
SIZES = [(10, 13.5), (50, 13.5), (200, 13.5), (50, 100), (200, 100), (1000, 100)]


class _BlockDumper(yaml.SafeDumper):
    """Writes texts of several lines as such."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_BlockDumper.add_representer(str, _text)


def prometheus_rule() -> str:
    """The alerts as an object of the Prometheus Operator."""
    rule: dict[str, Any] = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "streamapp"},
        "spec": yaml.safe_load(ALERTS.read_text("utf-8")),
    }
    text = yaml.dump(rule, Dumper=_BlockDumper, sort_keys=False, width=1000, allow_unicode=True)
    return f"# Made from deploy/prometheus/alerts.yml by `make docs`.\n{text}"


def sizing_table() -> str:
    """What `streamapp plan` says of some loads, with the default settings and its options' defaults."""
    lines = [
        "| events/s at the peak | frames/s of a worker | workers | partitions | busy at the peak | "
        "to catch up after 10 min | lagThreshold | node-hours for a million pictures |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for events, images in SIZES:
        found = plan(Load(events), Worker(images), Aims(node_cost_per_hour=1.0), Settings())
        lines.append(
            f"| {events} | {images:g} | {found.workers} | {found.partitions} | {found.busy:.0%} | "
            f"{found.catch_up_s / 60:.0f} min | {found.lag_threshold} | {found.cost_per_million:.2f} |"
        )
    return "\n".join(lines)


BLOCKS = {"sizing": sizing_table, "exits": exits_table}


def with_blocks(text: str) -> str:
    """The page's text with the generated tables as the code has them now."""
    for name, make in BLOCKS.items():
        start, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        if text.count(start) != 1 or text.count(end) != 1:
            raise SystemExit(f"{PAGE.name} must have exactly one block {name}.")
        before, rest = text.split(start)
        text = before + start + make() + "\n" + end + rest.split(end)[1]
    return text


if __name__ == "__main__":
    PROMETHEUS_RULE.write_text(prometheus_rule(), "utf-8")
    PAGE.write_text(with_blocks(PAGE.read_text("utf-8")), "utf-8")
