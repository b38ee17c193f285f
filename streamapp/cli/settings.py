"""`streamapp settings`: every setting, its value, and where the value comes from."""

import json
from pathlib import Path
from typing import Any, Literal

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from streamapp.settings import LoadedSettings, load_settings_with_origins
from streamapp.settings.origins import DEFAULT, MASK, is_secret, show
from streamapp.settings.table import markdown_table, setting_rows
from streamapp.settings.variables import PREFIX

MAX_WIDTH = 100


@click.command(name="settings")
@click.option("--json", "layout", flag_value="json", help="Print one JSON object, by name.")
@click.option("--markdown", "layout", flag_value="markdown", help="Print the README's table: the defaults.")
@click.option(
    "--env-file",
    type=click.Path(path_type=Path),
    help="Read this file in place of .env in the current folder.",
)
def command(layout: Literal["json", "markdown"] | None, env_file: Path | None) -> None:
    """Show every setting, its value and where the value comes from.

    The first that has a setting wins: STREAMAPP_<NAME> in the environment, the old deployment's name in
    the environment, then the same two in the file .env. Secrets are masked. Settings that can't be used
    are listed, all at once, and the exit code is 1.

    \b
    Examples:
      streamapp settings
      streamapp settings --env-file old.env
      streamapp settings --json | jq .STREAMAPP_BROKERS.value
    """
    if layout == "markdown":
        click.echo(markdown_table(), nl=False)
        return
    loaded = load_settings_with_origins(env_file=env_file)
    if layout == "json":
        click.echo(json.dumps(_as_json(loaded), indent=2, ensure_ascii=False))
    else:
        console = Console()
        console.width = min(console.width, MAX_WIDTH) if console.is_terminal else MAX_WIDTH
        console.print(_as_table(loaded))
    for notice in loaded.notices:
        click.echo(f"note: {notice}", err=True)


def _as_table(loaded: LoadedSettings) -> Table:
    table = Table(box=box.SIMPLE, caption=f"Each name is written {PREFIX}<NAME>.", caption_justify="left")
    table.add_column("name", no_wrap=True)
    table.add_column("value", overflow="fold", max_width=22)
    table.add_column("source", overflow="fold", max_width=22)
    table.add_column("what it does", style="dim", ratio=1)
    for row in setting_rows():
        origin = loaded.origins[row.field]
        style = "" if origin.place == DEFAULT else "bold"
        value = show(getattr(loaded.settings, row.field))
        table.add_row(
            Text(row.variable.removeprefix(PREFIX), style),
            Text(value, style),
            Text(str(origin), style),
            Text(row.description),
        )
    return table


def _as_json(loaded: LoadedSettings) -> dict[str, dict[str, Any]]:
    values = loaded.settings.model_dump(mode="json")
    described: dict[str, dict[str, Any]] = {}
    for row in setting_rows():
        origin = loaded.origins[row.field]
        value = values[row.field]
        described[row.variable] = {
            "value": MASK if is_secret(row.field) and value is not None else value,
            "source": str(origin),
            "default": row.default,
            "old_name": row.old_name or None,
            "description": row.description,
        }
    return described
