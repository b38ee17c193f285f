"""`streamapp settings`, as it is run."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from streamapp.cli import group
from streamapp.errors import SettingsError
from streamapp.settings import Settings
from streamapp.settings.origins import MASK
from streamapp.settings.table import markdown_table, setting_rows

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*arguments: str, **env: str) -> Result:
    return CliRunner().invoke(group, ["settings", *arguments], env=env)


def test_the_table_names_every_setting_within_100_columns() -> None:
    lines = run("--env-file", str(DATA / "old-gpu.env")).stdout.splitlines()
    assert max(map(len, lines)) <= 100
    named = {line.split()[0] for line in lines if line.strip()}
    assert {name.upper() for name in Settings.model_fields} <= named


def test_the_source_of_a_value_is_shown() -> None:
    result = run("--json", "--env-file", str(DATA / "old-gpu.env"), STREAMAPP_GROUP="g")
    shown = json.loads(result.stdout)
    assert shown["STREAMAPP_GROUP"]["source"] == "env"
    assert shown["STREAMAPP_GROUP"]["value"] == "g"
    assert shown["STREAMAPP_NUDENET_QUEUE"]["source"] == "old-gpu.env, old name NudenetMaxCon"
    assert shown["STREAMAPP_NUDENET_QUEUE"]["value"] == 50
    assert shown["STREAMAPP_WEB_PORT"]["source"] == "default"


def test_secrets_are_masked() -> None:
    for arguments in ([], ["--json"], ["--markdown"]):
        result = run(*arguments, STREAMAPP_SASL_PASSWORD="hunter2", STREAMAPP_SSL_KEY_PASSWORD="hunter2")
        assert result.exit_code == 0
        assert "hunter2" not in result.output


def test_a_secret_is_masked_alike_everywhere() -> None:
    shown = json.loads(run("--json", STREAMAPP_SASL_PASSWORD="hunter2").stdout)
    assert shown["STREAMAPP_SASL_PASSWORD"]["value"] == MASK


def test_json_has_every_setting_with_its_type() -> None:
    shown = json.loads(run("--json").stdout)
    assert set(shown) == {row.variable for row in setting_rows()}
    assert shown["STREAMAPP_MODELS"]["value"] == ["nudenet", "mfd", "clip", "coop"]
    assert shown["STREAMAPP_SASL_PASSWORD"]["value"] is None


def test_notices_go_to_stderr() -> None:
    result = run("--json", "--env-file", str(DATA / "old-cpu.env"))
    json.loads(result.stdout)
    assert "ComposedNumReplicas" in result.stderr


def test_markdown_is_the_readmes_table_whatever_the_environment_says() -> None:
    assert run("--markdown", STREAMAPP_WEB_PORT="broken").stdout == markdown_table()


def test_every_markdown_row_has_four_cells() -> None:
    lines = markdown_table().splitlines()
    assert len(lines) == len(Settings.model_fields) + 2
    assert {line.count("|") - line.count(r"\|") for line in lines} == {5}


def test_every_setting_says_what_it_does() -> None:
    assert [row.field for row in setting_rows() if not row.description.endswith(".")] == []


def test_bad_settings_are_told() -> None:
    assert isinstance(run(STREAMAPP_WEB_PORT="x").exception, SettingsError)


def test_help_has_examples() -> None:
    assert "streamapp settings --env-file old.env" in run("--help").stdout
