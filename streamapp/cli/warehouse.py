"""`streamapp warehouse`: ask the local warehouse, and check that it has all that it must have."""

from contextlib import nullcontext
from datetime import datetime
from itertools import islice

import click

from streamapp.cli.answers import print_csv, print_json_lines, print_table
from streamapp.cli.audits import print_audit
from streamapp.cli.moment import Moment
from streamapp.local.display import make_console
from streamapp.logs import configure_logs
from streamapp.reading import Period
from streamapp.settings import load_settings
from streamapp.warehouse.check import check_warehouse
from streamapp.warehouse.query import Answer, ask

_TABLE_ROWS = 50


@click.group(
    "warehouse",
    epilog="""\b
Examples:
  streamapp warehouse query "select * from to_be_moderated_today"
  streamapp warehouse check --wait 30
""",
)
def command() -> None:
    """The local warehouse: PostgreSQL, which Kafka Connect fills from the results topic.

    STREAMAPP_WAREHOUSE_URL says where it is. Needs the extra: pip install 'streamapp[warehouse]'.
    """
    configure_logs("WARNING")


@command.command(
    "query",
    # SQL may begin with a comment, --.
    context_settings={"ignore_unknown_options": True},
    epilog="""\b
Examples:
  streamapp warehouse query "select * from status_counts_per_hour order by hour desc"
  streamapp warehouse query "select * from moderation_events where uid = '37217839'"
  streamapp warehouse query "select * from duplicate_rows" --format csv > duplicates.csv
""",
)
@click.argument("sql")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "jsonl", "csv"]),
    default="table",
    show_default=True,
    help="Times are UTC; jsonl and csv have the values whole.",
)
@click.option(
    "--limit",
    type=click.IntRange(1),
    show_default=f"{_TABLE_ROWS} in a table, else all",
    help="Print so many rows at most.",
)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(0.001),
    default=60.0,
    show_default=True,
    help="Longest time that the statement may take, seconds.",
)
def query(sql: str, form: str, limit: int | None, timeout_s: float) -> None:
    """Run one SQL statement that only reads, and print what it answers."""
    if form == "table" and limit is None:
        limit = _TABLE_ROWS
    with ask(load_settings(), sql, timeout_s=timeout_s) as answer:
        match form:
            case "csv":
                print_csv(answer.columns, islice(answer.rows, limit))
            case "jsonl":
                print_json_lines(answer.columns, islice(answer.rows, limit))
            case _:
                _print_table(answer, limit or _TABLE_ROWS)


def _print_table(answer: Answer, limit: int) -> None:
    rows = list(islice(answer.rows, limit))
    print_table(answer.columns, rows, make_console())
    more = "; there are more: --limit" if next(answer.rows, None) is not None else ""
    click.echo(f"{len(rows)} row{'' if len(rows) == 1 else 's'}{more}")


@command.command(
    "check",
    epilog="""\b
Examples:
  streamapp warehouse check
  streamapp warehouse check --since 24h --wait 60
""",
)
@click.option(
    "--since",
    type=Moment(),
    help="Only events and rows since then: 2026-11-22T18:30 (UTC), or 30m, 2h, 7d ago.",
)
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(0),
    default=30.0,
    show_default=True,
    help="Longest time that Connect gets for what it has not loaded yet, seconds.",
)
def check(since: datetime | None, wait_s: float) -> None:
    """Follow the events from their topic to the warehouse and name what is missing.

    Reads the events up to the workers' committed offsets, the rows and the dead letters, and what the
    warehouse has of them; it counts the records themselves. Nothing is taken from anyone. Exits with 1 where
    something that must be there is not.
    """
    settings = load_settings()
    console = make_console()
    with console.status("…") if console.is_terminal else nullcontext() as status:

        def say(what: str) -> None:
            if status is not None:
                status.update(what)

        found = check_warehouse(settings, period=Period(since), wait_s=wait_s, say=say)
    print_audit(found, settings, console)
    if not found.is_complete:
        raise SystemExit(1)
