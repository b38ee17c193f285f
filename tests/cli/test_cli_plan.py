"""`streamapp plan`, as it is run."""
# ruff: noqa: RUF001  (the formulas have multiplication and minus signs)

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from streamapp.cli import group
from streamapp.cli.plan import command
from streamapp.errors import StreamappError
from streamapp.plan import Aims, Load, Worker

BASE = ("--events-per-second", "100", "--images-per-second", "13.5")


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*arguments: str, **env: str) -> Result:
    return CliRunner().invoke(group, ["plan", *arguments], env=env)


def rows(result: Result) -> dict[str, list[str]]:
    """What → value and the first line of how."""
    parts = (line.strip().split("  ") for line in result.stdout.splitlines() if line.startswith("  "))
    cells = ([cell.strip() for cell in line if cell.strip()] for line in parts)
    return {cell[0]: cell[1:] for cell in cells if len(cell) == 3}


def test_each_result_stands_with_its_formula_within_100_columns() -> None:
    result = run(*BASE, "--node-cost-per-hour", "0.2")
    assert result.exit_code == 0
    assert max(map(len, result.stdout.splitlines())) <= 100
    assert rows(result) == {
        "what": ["needed", "how"],
        "frames": ["100.0 /s", "100 events/s × 1 with a picture × 1 key frames"],
        "capacity": ["130.0 /s", "frames × (1 + 0.3 headroom)"],
        "workers": ["10", "capacity ÷ 13.5 frames/s of a worker, rounded up"],
        "nodes": ["10", "workers ÷ 1 on a node, rounded up"],
        "partitions": ["20", "2 × workers: at least as many as there may ever be workers"],
        "busy": ["74%", "the busiest worker's partitions at the peak ÷ its rate"],
        "catching up": ["29 min", "after 10 min of standstill: outage × busy ÷ (1 − busy)"],
        "downloads in flight": ["7", "a worker's pictures/s × 0.5 s each (Little);"],
        "from one host": ["7", "of these, × 1 on the busiest host; DOWNLOADS_PER_HOST is 32"],
        "not yet committed": ["810", "a worker's events/s × 60 s that a dead URL takes;"],
        "lagThreshold": ["1,620", "a worker's events/s × 120 s, twice FETCH_DEADLINE_S: for KEDA"],
        "bandwidth": ["27 Mbit/s", "a worker's pictures/s × 250 kB × 8; all workers 270 Mbit/s"],
        "memory": ["17.6 GB", "of a worker at the most: 2.6 GB idle + downloads + pictures +"],
        "cost": ["5.56", "for a million pictures at this rate: nodes × 0.2 ÷ pictures an"],
    }


def test_the_options_defaults_are_those_of_the_sizing_table() -> None:
    given = {option.name: option.default for option in command.params}
    load, worker, aims = Load(1.0), Worker(1.0), Aims()

    assert given | {"fetch_seconds": load.fetch_s, "picture_kb": load.picture_bytes / 1e3} == given
    assert [given[name] for name in ("picture_share", "frames_per_picture", "host_share")] == [
        load.picture_share,
        load.frames_per_picture,
        load.host_share,
    ]
    assert given["workers_per_node"] == worker.per_node
    assert given["idle_memory_mb"] == worker.idle_bytes / 1e6
    assert (given["headroom"], given["outage_minutes"]) == (aims.headroom, aims.outage_s / 60)


def test_without_a_price_nothing_is_said_of_cost() -> None:
    assert "cost" not in run(*BASE).stdout


def test_an_aim_of_catching_up_and_partitions_change_the_words() -> None:
    result = run(*BASE, "--outage-minutes", "60", "--catch-up-minutes", "30", "--partitions", "48")
    assert "frames × (1 + 60 min of standstill ÷ 30 min to catch up)" in result.stdout
    assert "as given" in result.stdout
    assert rows(result)["workers"][0] == "24"


def test_limits_are_those_of_the_settings_and_one_that_is_too_low_ends_with_1() -> None:
    result = run(*BASE, STREAMAPP_DOWNLOADS_IN_FLIGHT="6")
    assert result.exit_code == 1
    assert "STREAMAPP_DOWNLOADS_IN_FLIGHT is 6" in result.stdout
    assert run(*BASE, STREAMAPP_DOWNLOADS_IN_FLIGHT="7").exit_code == 0


def test_json_has_the_same_numbers() -> None:
    found = json.loads(run(*BASE, "--node-cost-per-hour", "0.2", "--json").stdout)
    assert (found["workers"], found["partitions"], found["lag_threshold"]) == (10, 20, 1620)
    assert found["cost_per_million"] == pytest.approx(5.5556, abs=1e-4)
    assert found["shortcomings"] == []


def test_json_has_null_for_never() -> None:
    full = ("--events-per-second", "10", "--images-per-second", "10", "--headroom", "0")
    assert json.loads(run(*full, "--json").stdout)["catch_up_s"] is None
    assert rows(run(*full))["catching up"][0] == "never"


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--events-per-second", "0"),
        ("--events-per-second", "-1"),
        ("--images-per-second", "nan"),
        ("--images-per-second", "inf"),
        ("--images-per-second", "many"),
        ("--picture-share", "1.01"),
        ("--headroom", "-0.1"),
        ("--catch-up-minutes", "0"),
        ("--workers-per-node", "0"),
        ("--partitions", "0"),
    ],
)
def test_a_number_that_can_not_be_is_refused(option: str, value: str) -> None:
    result = run(*BASE, option, value)
    assert result.exit_code == 2
    assert f"Invalid value for '{option}'" in result.stderr


def test_too_few_partitions_are_told() -> None:
    result = run(*BASE, "--partitions", "8")
    assert isinstance(result.exception, StreamappError)
    assert "8 partitions let at most 8 workers" in str(result.exception)
