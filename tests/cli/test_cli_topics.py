"""`streamapp topics` as a process of its own, on the embedded broker."""

import os
import subprocess
import sys
from pathlib import Path

from streamapp.local.broker import free_port

TIMEOUT_S = 60


def topics(
    folder: Path, variables: dict[str, str], *arguments: str
) -> tuple[int, list[list[str]], subprocess.CompletedProcess[str]]:
    """The exit code and the table's rows."""
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith("STREAMAPP_")}
    result = subprocess.run(
        [sys.executable, "-m", "streamapp", "topics", *arguments],
        cwd=folder,
        env=kept | variables,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    cells = [line.strip("│ ").split("│") for line in result.stdout.splitlines() if line.startswith("│")]
    return result.returncode, [[cell.strip() for cell in row] for row in cells], result


def table(variables: dict[str, str], partitions: str, state: str) -> list[list[str]]:
    """The rows, where all three topics are the same."""
    names = ("STREAMAPP_EVENTS_TOPIC", "STREAMAPP_RESULTS_TOPIC", "STREAMAPP_DEAD_LETTER_TOPIC")
    roles = ("events", "results", "dead letters")
    return [[variables[name], role, partitions, state] for name, role in zip(names, roles, strict=True)]


def test_topics_are_created_once(tmp_path: Path, kafka_variables: dict[str, str]) -> None:
    variables = kafka_variables | {"STREAMAPP_TOPIC_PARTITIONS": "3"}
    for state in ("created", "exists"):
        exit_code, rows, result = topics(tmp_path, variables)
        assert (exit_code, result.stderr) == (0, "")
        assert rows == table(variables, "3", state)


def test_a_topic_with_another_number_of_partitions_is_told_and_left_alone(
    tmp_path: Path, kafka_variables: dict[str, str]
) -> None:
    topics(tmp_path, kafka_variables)
    more = kafka_variables | {"STREAMAPP_TOPIC_PARTITIONS": "48"}
    exit_code, rows, _ = topics(tmp_path, more)

    assert exit_code == 0
    assert rows == table(kafka_variables, "8", "exists; the setting says 48")


def test_a_dry_run_creates_nothing_and_ends_with_1_where_a_topic_is_missing(
    tmp_path: Path, kafka_variables: dict[str, str]
) -> None:
    for _ in range(2):
        exit_code, rows, result = topics(tmp_path, kafka_variables, "--dry-run")
        assert (exit_code, result.stderr) == (1, "")
        assert rows == table(kafka_variables, "0", "missing")
    topics(tmp_path, kafka_variables)
    assert topics(tmp_path, kafka_variables, "--dry-run")[:2] == (0, table(kafka_variables, "8", "exists"))


def test_a_broker_that_is_away_is_told_with_the_cause(
    tmp_path: Path, kafka_variables: dict[str, str]
) -> None:
    away = kafka_variables | {"STREAMAPP_BROKERS": f"127.0.0.1:{free_port()}"}
    exit_code, rows, result = topics(tmp_path, away)

    assert (exit_code, rows) == (1, [])
    assert "does not answer" in result.stderr
    assert "Connect call failed" in result.stderr


def test_long_names_are_folded_and_never_cut(tmp_path: Path, kafka_variables: dict[str, str]) -> None:
    name = kafka_variables["STREAMAPP_EVENTS_TOPIC"] + "-long" * 30
    _, rows, result = topics(tmp_path, kafka_variables | {"STREAMAPP_EVENTS_TOPIC": name})

    assert "".join(row[0] for row in rows).startswith(name)
    assert max(map(len, result.stdout.splitlines())) <= 100
