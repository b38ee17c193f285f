"""`streamapp results`: the rows that the workers have published."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime

import click
from rich.console import Console

from streamapp.cli.moment import PastMoment
from streamapp.cli.rows import row_line, row_table, summary
from streamapp.local.display import make_console
from streamapp.logs import configure_logs
from streamapp.reasons import Reason, Status
from streamapp.records import ResultRow
from streamapp.results import PublishedRow, ResultsReader, open_results
from streamapp.settings import load_settings

Filter = Callable[[ResultRow], bool]

_LAST = 20
_LAST_TO_CHOOSE_FROM = 1000


@dataclass(frozen=True, slots=True)
class _Look:
    """Which rows are looked at, and how they are shown; `last` None: all of them."""

    last: int | None
    since: datetime | None
    is_choosing: bool
    is_followed: bool
    as_json: bool


@click.command(
    "results",
    epilog="""\b
Examples:
  streamapp results                        the newest 20 rows as a table
  streamapp results --all --json > rows.jsonl
  streamapp results --status 4 --since 24h       pictures on which a model raised
  streamapp results --reason timeout --reason circuit_open --last 1000
  streamapp results --moderate --follow
""",
)
@click.option(
    "--last",
    type=click.IntRange(0),
    show_default=f"{_LAST}, to choose from {_LAST_TO_CHOOSE_FROM}, with --since all",
    help="Newest rows to look at; --status, --reason and --moderate choose from them.",
)
@click.option("--all", "show_all", is_flag=True, help="Look at all rows that the topic holds.")
@click.option(
    "--since",
    type=PastMoment(),
    help="Only rows published since then: 2026-11-22T18:30 (UTC), or 30m, 2h, 7d ago.",
)
@click.option("--follow", is_flag=True, help="Go on with new rows until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="JSON lines, the rows as they are on the topic.")
@click.option(
    "--status",
    type=click.Choice([str(status.value) for status in Status if status is not Status.SWITCHED_OFF]),
    help="Only rows in which a model has this STATUS.",
)
@click.option(
    "--reason",
    "reasons",
    multiple=True,
    metavar="REASON",
    type=click.Choice([reason.value for reason in Reason]),
    help="Only rows with this PROVENANCE.reason; may be given several times.",
)
@click.option("--moderate", is_flag=True, help="Only rows that are to be moderated.")
def command(
    last: int | None,
    show_all: bool,
    since: datetime | None,
    follow: bool,
    as_json: bool,
    status: str | None,
    reasons: tuple[str, ...],
    moderate: bool,
) -> None:
    """Show result rows, oldest first. Reads without a consumer group: nothing is taken from the workers."""

    def is_wanted(row: ResultRow) -> bool:
        attributes = row.MODEL_ATTRIBUTES
        has_status = status is None or int(status) in attributes.statuses().values()
        has_reason = not reasons or attributes.PROVENANCE.get("reason") in reasons
        return has_status and has_reason and (row.TO_BE_MODERATED or not moderate)

    is_choosing = status is not None or bool(reasons) or moderate
    if last is None and since is None:
        last = _LAST_TO_CHOOSE_FROM if is_choosing else _LAST
    configure_logs("WARNING")
    asyncio.run(_show(_Look(None if show_all else last, since, is_choosing, follow, as_json), is_wanted))


async def _show(look: _Look, is_wanted: Filter) -> None:
    console = make_console()
    async with open_results(load_settings()) as reader:
        rows: list[ResultRow] = []
        count = 0
        async with aclosing(_rows(reader, look)) as looked_at:
            async for published in looked_at:
                count += 1
                if not is_wanted(published.row):
                    continue
                if look.as_json:
                    click.echo(published.value)
                else:
                    rows.append(published.row)
        if not look.as_json:
            _print_table(rows, look, count, console)
        if look.is_followed:
            await _follow(reader, look.as_json, is_wanted, console)


async def _rows(reader: ResultsReader, look: _Look) -> AsyncGenerator[PublishedRow]:
    """The rows that are there; only `last` of them are in memory, or a bounded part of all."""
    if look.last is None:
        async for published in reader.every(look.since):
            yield published
        return
    for published in await reader.latest(look.last, look.since):
        yield published


def _print_table(rows: list[ResultRow], look: _Look, looked_at: int, console: Console) -> None:
    if rows:
        console.print(row_table(rows))
    rows_there = f"{looked_at} row{'' if looked_at == 1 else 's'}"
    chosen = f" Chosen from {rows_there}." if look.is_choosing and looked_at else ""
    older = " A larger --last, or --all, looks at older ones." if chosen and looked_at == look.last else ""
    click.echo(f"{summary(rows, 'row')}{chosen}{older}")


async def _follow(reader: ResultsReader, as_json: bool, is_wanted: Filter, console: Console) -> None:
    async for published in reader.follow():
        if not is_wanted(published.row):
            continue
        if as_json:
            click.echo(published.value)
        else:
            console.print(row_line(published.row), markup=False, soft_wrap=True)
