"""What all commands have in common: help with an example, and errors in one line."""

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from streamapp import __version__
from streamapp.cli import COMMANDS, group
from streamapp.local.broker import free_port


def streamapp(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in an empty folder and environment."""
    return subprocess.run(
        [sys.executable, "-m", "streamapp", *arguments],
        cwd=folder,
        env=variables,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_help_lists_every_command_with_what_it_does(tmp_path: Path) -> None:
    result = streamapp(tmp_path, "--help")
    lines = [line.split(maxsplit=1) for line in result.stdout.partition("Commands:\n")[2].splitlines()]

    assert result.returncode == 0
    assert [line[0] for line in lines] == list(COMMANDS)
    assert all(len(line) == 2 and line[1].strip() for line in lines)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_every_command_has_an_example_of_it(command: str) -> None:
    result = CliRunner().invoke(group, [command, "--help"], terminal_width=100)
    examples = result.output.partition("Examples:\n")[2].splitlines()

    assert result.exit_code == 0
    assert any(f"streamapp {command}" in line for line in examples)
    assert max(map(len, result.output.splitlines())) <= 100


def test_the_version_is_told(tmp_path: Path) -> None:
    assert __version__ in streamapp(tmp_path, "--version").stdout


@pytest.mark.parametrize(
    "arguments",
    [("topics",), ("topics", "--dry-run"), ("results",), ("results", "--follow", "--json")],
    ids=" ".join,
)
def test_a_broker_that_is_away_is_one_line_on_stderr(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    address = f"127.0.0.1:{free_port()}"
    result = streamapp(tmp_path, *arguments, STREAMAPP_BROKERS=address)

    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(f"streamapp: The broker at {address} does not answer: ")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["moderate", "topics", "results", "settings"])
def test_a_bad_setting_is_told_without_a_traceback(tmp_path: Path, command: str) -> None:
    arguments = [command, "a.png"] if command == "moderate" else [command]
    result = streamapp(tmp_path, *arguments, STREAMAPP_WEB_PORT="many")

    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("streamapp: ")
    assert "STREAMAPP_WEB_PORT" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("arguments", [("resluts",), ("results", "--lats", "3"), ("moderate",)], ids=" ".join)
def test_a_command_line_that_is_wrong_ends_with_2(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    result = streamapp(tmp_path, *arguments)

    assert (result.returncode, result.stdout) == (2, "")
    assert "Error: " in result.stderr
