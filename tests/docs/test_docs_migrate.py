"""docs/migrate.md agrees with the settings: every line of the old `.env`, and what becomes of it."""

import re
from pathlib import Path

import pytest
from docs.pages import ROOT

from streamapp.records import ModelAttributes, ResultRow
from streamapp.settings import load_settings
from streamapp.settings.old_names import IGNORED, OLD_NAMES, OLD_SETTINGS, WITHOUT_EFFECT, OldSetting
from streamapp.settings.origins import show, variable_name

TEXT = (ROOT / "docs" / "migrate.md").read_text("utf-8")
OLD_FILE = ROOT / "tests" / "data" / "old-gpu.env"
TABLE = TEXT.partition("<!-- old settings -->\n")[2].partition("<!-- /old settings -->")[0]
ROWS = [tuple(cell.strip() for cell in line.strip("|\n ").split("|")) for line in TABLE.splitlines()[2:]]


def old_lines() -> dict[str, str]:
    """Name → the line of the old file."""
    lines = OLD_FILE.read_text("utf-8").splitlines()
    return {line.partition("=")[0]: line for line in lines if "=" in line and not line.startswith("#")}


def cells_of(name: str) -> tuple[str, str]:
    """The first two cells of the row with an old name."""
    (found,) = [(old, here) for old, here, _ in ROWS if f"`{name}=" in old]
    return found


@pytest.mark.parametrize("name", OLD_NAMES)
def test_every_old_name_is_there_as_the_file_has_it(name: str) -> None:
    assert f"`{old_lines()[name]}`" in cells_of(name)[0]


def test_no_line_of_the_old_file_is_left_out() -> None:
    assert [name for name in old_lines() if f"`{name}=" not in TABLE] == []


@pytest.mark.parametrize("old", OLD_SETTINGS, ids=lambda old: old.field)
def test_what_a_line_becomes_is_what_the_settings_make_of_it(old: OldSetting) -> None:
    value = show(getattr(load_settings({}, OLD_FILE), old.field))

    assert {cells_of(name)[1] for name in old.names} == {f"`{variable_name(old.field)}={value}`"}


def test_what_has_no_effect_becomes_nothing() -> None:
    assert {cells_of(name)[1] for name in (*WITHOUT_EFFECT, *IGNORED)} == {""}


def test_the_page_names_only_keys_that_rows_have() -> None:
    section = TEXT.partition("## What a row says")[2].partition("\n## ")[0]
    keys = {*ResultRow.__struct_fields__, *ModelAttributes.__struct_fields__}
    named = {
        name
        for line in section.splitlines()
        if line.startswith("|")
        for name in re.findall(r"\b[A-Z]+(?:_[A-Z0-9]+)+\b", line.split("|")[1])
    }

    assert named - keys - {"_STATUS", "_DURATION", "_TO_BE_MODERATED"} == set()


def test_the_defaults_that_the_page_gives_are_the_settings() -> None:
    settings = load_settings({}, Path("/dev/null"))

    assert f"The default is {settings.events_in_flight}" in TEXT
    assert f"`STREAMAPP_FETCH_DEADLINE_S` ({settings.fetch_deadline_s:g} s)" in TEXT
    assert f"at least {settings.frame_side_px} px" in TEXT
    assert f"`STREAMAPP_COOP_MODEL`, {settings.coop_model}" in TEXT
    assert f"which is `{settings.model_version}` by default" in TEXT
