"""`streamapp results`: the rows that the workers have published."""

import asyncio
from collections.abc import Callable

import click
from rich.console import Console

from streamapp.cli.rows import row_line, row_table, summary
from streamapp.local.display import make_console
from streamapp.logs import configure_logs
from streamapp.records import ResultRow
from streamapp.results import PublishedRow, ResultsReader, open_results
from streamapp.settings import load_settings

Filter = Callable[[ResultRow], bool]


@click.command(
    "results",
    epilog="""\b
Examples:
  streamapp results                        the newest 20 rows as a table
  streamapp results --all --json > rows.jsonl
  streamapp results --status 403 --last 100
  streamapp results --moderate --follow
""",
)
@click.option(
    "--last",
    default=20,
    show_default=True,
    type=click.IntRange(0),
    help="Newest rows to look at; --status and --moderate choose from them.",
)
@click.option("--all", "show_all", is_flag=True, help="Look at all rows that the topic holds.")
@click.option("--follow", is_flag=True, help="Go on with new rows until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="JSON lines, the rows as they are on the topic.")
@click.option("--status", type=int, help="Only rows in which a model has this STATUS.")
@click.option("--moderate", is_flag=True, help="Only rows that are to be moderated.")
def command(
    last: int, show_all: bool, follow: bool, as_json: bool, status: int | None, moderate: bool
) -> None:
    """Show result rows, oldest first. Reads without a consumer group: nothing is taken from the workers."""

    def is_wanted(row: ResultRow) -> bool:
        has_status = status is None or status in row.MODEL_ATTRIBUTES.statuses().values()
        return has_status and (row.TO_BE_MODERATED or not moderate)

    configure_logs("WARNING")
    asyncio.run(_show(None if show_all else last, follow, as_json, is_wanted))


async def _show(last: int | None, follow: bool, as_json: bool, is_wanted: Filter) -> None:
    console = make_console()
    async with open_results(load_settings()) as reader:
        wanted = [published for published in await reader.latest(last) if is_wanted(published.row)]
        if as_json:
            _print_json(wanted)
        else:
            _print_table([published.row for published in wanted], console)
        if follow:
            await _follow(reader, as_json, is_wanted, console)


def _print_table(rows: list[ResultRow], console: Console) -> None:
    if rows:
        console.print(row_table(rows))
    click.echo(summary(rows, "row"))


async def _follow(reader: ResultsReader, as_json: bool, is_wanted: Filter, console: Console) -> None:
    async for published in reader.follow():
        if not is_wanted(published.row):
            continue
        if as_json:
            _print_json([published])
        else:
            console.print(row_line(published.row), markup=False, soft_wrap=True)


def _print_json(rows: list[PublishedRow]) -> None:
    for published in rows:
        click.echo(published.value)
