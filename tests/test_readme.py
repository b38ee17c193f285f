"""The README agrees with the code: its tables, its commands, its files, its row."""

import re
from pathlib import Path

import pytest
from readme import README, with_blocks

from streamapp.cli import COMMANDS
from streamapp.errors import DeadLetterReason
from streamapp.records import ModelAttributes, ResultRow

TEXT = README.read_text("utf-8")
ROOT = README.parent


def test_the_generated_tables_are_those_of_the_code() -> None:
    assert with_blocks(TEXT) == TEXT, "Run `make docs`."


def test_every_command_of_the_readme_exists() -> None:
    used = set(re.findall(r"^\$ streamapp ([a-z-]+)", TEXT, re.MULTILINE))

    assert used == set(COMMANDS) - {"demo"}  # the demo is `make demo`


def test_every_make_target_of_the_readme_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    assert set(re.findall(r"(?:^\$ |`)make ([a-z-]+)", TEXT, re.MULTILINE)) <= targets


@pytest.mark.parametrize("keys", [ResultRow.__struct_fields__, ModelAttributes.__struct_fields__])
def test_every_key_of_the_row_is_explained(keys: tuple[str, ...]) -> None:
    assert [key for key in keys if not re.search(rf"^\|.*\b{key}\b.*\|", TEXT, re.MULTILINE)] == []


def test_every_dead_letter_reason_is_named() -> None:
    assert [reason for reason in DeadLetterReason if f"`{reason}`" not in TEXT] == []


def test_every_file_of_the_readme_exists() -> None:
    links = {path for path in re.findall(r"\]\(([^)#:]+)\)", TEXT)}
    paths = set(re.findall(r"`((?:streamapp|tests|benchmarks)/[\w./-]*)`", TEXT))

    assert [path for path in links | paths if not Path(ROOT, path).exists()] == []
