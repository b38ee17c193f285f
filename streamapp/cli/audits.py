"""How a check of the warehouse looks: counts per partition, and in words what is missing and what to do."""

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from streamapp.offset_set import OffsetSet
from streamapp.settings import Settings
from streamapp.warehouse.audit import Audit
from streamapp.warehouse.offsets import Offsets, count, minus, told
from streamapp.warehouse.sink import GROUP, refused_topic

_MOST_RANGES = 10


def print_audit(found: Audit, settings: Settings, console: Console) -> None:
    """Print the two tables, what is worth a note, and what is missing."""
    console.print(f"[bold]Events of {settings.events_topic}, up to the committed offsets[/]")
    console.print(_events_table(found))
    console.print(f"[bold]Records of {settings.results_topic}[/]")
    console.print(_results_table(found))
    for note in _notes(found, settings):
        console.print(note, markup=False)
    for problem in _problems(found, settings):
        console.print(f"[bold red]✗[/] {problem}")
    if found.is_complete:
        console.print("[bold green]✓[/] Everything that must be in the warehouse is there.")


def _events_table(found: Audit) -> Table:
    table = Table()
    for name in ("partition", "committed", "with a row", "dead letters", "removed", "no outcome"):
        table.add_column(name, justify="right", no_wrap=True)
    events, published = found.published.events, found.published
    lines = []
    for number in sorted(events.committed):
        wanted = {number: events.with_picture.get(number, OffsetSet())}
        dead = count(wanted) - count(minus(wanted, published.dead_letters))
        lacking = _in(found.without_outcome, number) + _in(found.aged, number)
        row = count(wanted) - dead - lacking
        lines.append((events.committed[number], row, dead, events.removed.get(number, 0), lacking))
        table.add_row(str(number), *(f"{cell:,}" for cell in lines[-1]))
    _add_total(table, [sum(column) for column in zip(*lines, strict=True)])
    return table


def _results_table(found: Audit) -> Table:
    table = Table()
    for name in ("partition", "records", "landed", "in the table", "no rows", "refused", "missing"):
        table.add_column(name, justify="right", no_wrap=True)
    results = found.published.results
    lines = []
    for number in sorted(results.ranges):
        records = _in(results.records, number)
        missing, refused = _in(found.not_landed, number), _in(found.refused, number)
        no_rows = records - _in(results.rows, number)
        in_table = _in(results.rows, number) - _in(minus(results.rows, found.landed.rows), number)
        lines.append((records, records - missing - refused, in_table, no_rows, refused, missing))
        table.add_row(str(number), *(f"{cell:,}" for cell in lines[-1]))
    _add_total(table, [sum(column) for column in zip(*lines, strict=True)])
    return table


def _add_total(table: Table, total: list[int]) -> None:
    if table.row_count > 1:
        table.add_section()
        table.add_row("all", *(f"{cell:,}" for cell in total), style="bold")


def _in(offsets: Offsets, number: int) -> int:
    return count({number: offsets.get(number, OffsetSet())})


def _notes(found: Audit, settings: Settings) -> Iterator[str]:
    """What is as it should be and may surprise."""
    events, results = found.published.events, found.published.results
    yield (
        f"moderation_events has {count(found.landed_events.offsets):,} of these source events; "
        f"{results.repeats:,} rows on the topic are repeats, of which it shows the latest."
    )
    if sum(events.removed.values()):
        yield "Removed: the event says that the user has no picture any more; such an event leaves no row."
    if events.uncommitted:
        yield f"{events.uncommitted:,} events are not committed yet: they wait, or are in the workers' hands."
    if results.without_source:
        yield (
            f"{results.without_source:,} rows are of no event of {settings.events_topic}: of the old "
            "deployment, or of another topic."
        )
    no_rows = count(minus(results.records, results.rows))
    if no_rows:
        yield f"{no_rows:,} records are no rows: the view not_rows has them, with the reason."
    if found.aged:
        yield (
            f"Not comparable: {count(found.aged):,} events without an outcome are older than what retention "
            "has left of the outcomes."
        )


def _problems(found: Audit, settings: Settings) -> Iterator[str]:
    """What is missing, and what to do about it."""
    results = settings.results_topic
    if found.without_outcome:
        yield (
            f"{_events(found.without_outcome, settings)} left neither a row nor a dead letter, and the group "
            f"{settings.group} has committed past them. `streamapp backfill --offsets` reads them once more."
        )
    if found.passed:
        yield (
            f"{_records(found.passed, results)} not landed, and Connect has passed them: they do not "
            f"come by themselves. `streamapp connect delete` the connector, set its group {GROUP} back to "
            "them (`kafka-consumer-groups --reset-offsets`), and `streamapp connect apply` it again: what is "
            "loaded twice stays once."
        )
    waiting = minus(found.not_landed, found.passed)
    if waiting:
        yield (
            f"{_records(waiting, results)} not landed yet: Connect has not come so far. Does it run "
            "(`streamapp connect status`)? Then give it more --wait."
        )
    if found.refused:
        yield f"{_records(found.refused, results)} refused by Connect: {refused_topic(settings)} has them."
    if found.not_in_table:
        yield f"{_records(found.not_in_table, results)} landed, and PostgreSQL can't read them: see not_rows."
    # Where their records are missing, that has been said.
    if found.not_in_view and not (found.not_landed or found.refused or found.not_in_table):
        yield f"{_events(found.not_in_view, settings)} without a row in moderation_events."
    if found.events_twice:
        yield f"moderation_events has {found.events_twice:,} rows more than source events. This is a bug."


def _events(offsets: Offsets, settings: Settings) -> str:
    number = count(offsets)
    return f"{number:,} event{_s(number)} ({told(settings.events_topic, offsets, _MOST_RANGES)})"


def _records(offsets: Offsets, topic: str) -> str:
    number = count(offsets)
    return f"{number:,} record{_s(number)} ({told(topic, offsets, _MOST_RANGES)})"


def _s(number: int) -> str:
    return "" if number == 1 else "s"
