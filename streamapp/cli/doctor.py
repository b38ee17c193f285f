"""`streamapp doctor`: what this machine lacks for a worker, and what to do about it."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from streamapp.cli.doctor_checks import (
    Check,
    State,
    check_broker,
    check_clock,
    check_disk,
    check_formats,
    check_packages,
    check_python,
    check_weights,
)
from streamapp.cli.doctor_gpu import check_gpu
from streamapp.errors import SettingsError
from streamapp.settings import LoadedSettings, load_settings_with_origins

MAX_WIDTH = 100


@click.command(name="doctor")
@click.option("--env-file", type=click.Path(path_type=Path), help="Read this file in place of .env.")
def command(env_file: Path | None) -> None:
    """Check what a worker needs: Python, packages, settings, broker, topics, weights, GPU, disk, clock.

    Every check runs, whatever the others found. The exit code is 1 if one failed; warnings leave it 0.

    \b
    Examples:
      streamapp doctor
      STREAMAPP_BROKERS=kafka.example.com:9092 streamapp doctor
    """
    console = Console()
    console.width = min(console.width, MAX_WIDTH) if console.is_terminal else MAX_WIDTH
    with console.status("Checking…"):
        checks = list(run_checks(lambda: load_settings_with_origins(env_file=env_file)))
    console.print(_as_table(checks))
    if any(check.state is State.FAIL for check in checks):
        raise SystemExit(1)


def run_checks(load: Callable[[], LoadedSettings]) -> Iterator[Check]:
    """Run every check; one that breaks is a failed check and never stops the others.

    Args:
        load: reads the settings.
    """
    yield _guarded("python", check_python)
    yield _guarded("packages", check_packages)
    folders = {"current folder": Path.cwd()}
    try:
        loaded = load()
    except SettingsError as exc:
        yield Check("settings", State.FAIL, str(exc), "Mend what is listed, then run this again.")
        for name in ("broker", "topics", "weights"):
            yield Check(name, State.SKIPPED, "The settings do not load.")
    else:
        notes = f" `streamapp settings` has {len(loaded.notices)} to note." if loaded.notices else ""
        yield Check("settings", State.OK, f"All have a usable value.{notes}")
        yield from check_broker(loaded.settings)
        yield _guarded("weights", lambda: check_weights(loaded.settings))
        folders["model cache"] = loaded.settings.model_cache
    yield _guarded("gpu", check_gpu)
    yield _guarded("disk", lambda: check_disk(folders))
    yield _guarded("clock", check_clock)
    yield _guarded("formats", check_formats)


def _guarded(name: str, check: Callable[[], Check]) -> Check:
    try:
        return check()
    except Exception as exc:
        return Check(name, State.FAIL, f"The check itself broke: {exc!r}.", "Report this; it is a bug.")


_STYLES = {State.OK: "green", State.WARN: "yellow", State.FAIL: "bold red", State.SKIPPED: "dim"}


def _as_table(checks: Sequence[Check]) -> Table:
    table = Table(box=box.SIMPLE)
    table.add_column("check", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("found", overflow="fold", ratio=3)
    table.add_column("what to do", overflow="fold", ratio=2)
    for check in checks:
        state = Text(check.state, _STYLES[check.state])
        table.add_row(check.name, state, Text(check.detail), Text(check.remedy))
    return table
