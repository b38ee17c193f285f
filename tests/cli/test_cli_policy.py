"""`streamapp policy`, as it is run."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from streamapp.cli import group
from streamapp.errors import SettingsError
from streamapp.policy import DEFAULT_FILE, load_policy

TEXT = DEFAULT_FILE.read_text("utf-8")


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*arguments: str, **env: str) -> Result:
    return CliRunner().invoke(group, ["policy", *arguments], env=env)


def write(name: str, old: str = "", new: str = "") -> None:
    Path(name).write_text(TEXT.replace(old, new))


def test_check_says_what_a_fine_file_holds() -> None:
    result = run("check")
    assert result.exit_code == 0
    assert "46 classes, 29 primary and 139 secondary categories" in result.stdout
    assert load_policy().sha256[:12] in result.stdout


def test_check_of_a_broken_file_names_line_and_reason_and_exits_1(tmp_path: Path) -> None:
    write("mine.yaml", "secondaries: [selfie]", "secondaries: [selfi]")
    line = TEXT[: TEXT.index("secondaries: [selfie]")].count("\n") + 1
    result = subprocess.run(
        [sys.executable, "-m", "streamapp", "policy", "check", "mine.yaml"],
        cwd=tmp_path,
        env={},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (result.returncode, result.stdout) == (1, "")
    assert (
        f"mine.yaml:{line}: taxonomy.classes[21].secondaries[0]: there is no secondary selfi" in result.stderr
    )
    assert "Traceback" not in result.stderr


def test_without_a_file_the_setting_s_is_looked_at() -> None:
    write("mine.yaml", "2026-11-22.2", "mine-1")
    for command in ("check", "show"):
        assert "mine-1" in run(command, STREAMAPP_POLICY_FILE="mine.yaml").stdout
        assert "mine-1" not in run(command, "default", STREAMAPP_POLICY_FILE="mine.yaml").stdout


def test_a_file_that_is_missing_is_told() -> None:
    assert isinstance(run("check", "missing.yaml").exception, SettingsError)


def test_show_names_every_class_and_secondary_within_100_columns() -> None:
    result = run("show")
    lines = result.stdout.splitlines()
    taxonomy = load_policy().taxonomy
    assert result.exit_code == 0
    assert max(map(len, lines)) <= 100 or lines[0] == str(DEFAULT_FILE)
    assert all(name in result.stdout for name in taxonomy.secondaries)
    assert all(any(one.name in line and one.primary in line for line in lines) for one in taxonomy.classes)


def test_show_json_is_a_policy_file_itself() -> None:
    Path("mine.json").write_text(run("show", "--json").stdout)
    assert json.loads(Path("mine.json").read_text())["models"]["mfd"] == {"mode": "enforce", "threshold": 0.5}
    assert run("diff", "default", "mine.json").exit_code == 0


def test_show_yaml_is_the_file_with_its_comments() -> None:
    assert run("show", "--yaml").stdout == TEXT


def test_diff_of_equal_policies_says_nothing_and_exits_0() -> None:
    write("mine.yaml", "# The misspellings", "# The old misspellings")
    result = run("diff", "default", "mine.yaml")
    assert (result.exit_code, result.output) == (0, "")


def test_diff_lists_what_is_different_and_exits_1() -> None:
    write("mine.yaml", "    threshold: 0.5", "    threshold: 0.6")
    result = run("diff", "default", "mine.yaml")
    assert (result.exit_code, result.output) == (1, "models.mfd.threshold: 0.5 → 0.6\n")


def test_diff_with_a_file_that_can_t_be_used_exits_2() -> None:
    write("mine.yaml", "mode: enforce", "mode: maybe")
    result = run("diff", "default", "mine.yaml")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "mine.yaml:" in result.stderr


@pytest.mark.parametrize("command", ["check", "show", "diff"])
def test_the_help_of_every_part_has_an_example_of_it(command: str) -> None:
    result = run(command, "--help")
    assert f"streamapp policy {command}" in result.stdout.partition("Examples:\n")[2]
    assert max(map(len, result.stdout.splitlines())) <= 100
