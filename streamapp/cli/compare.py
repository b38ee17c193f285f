"""`streamapp compare`: the rows of two deployments, or of two versions, side by side."""

from pathlib import Path

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from streamapp.cli.rows import picture_name, printable
from streamapp.comparison import Comparison, Disagreement, FieldAgreement, Kind, Side, compare, match_files
from streamapp.comparison.agreement import DEFAULT_TOLERANCE, highest
from streamapp.comparison.fields import VERDICT, Facts
from streamapp.comparison.report import write_report
from streamapp.errors import StreamappError
from streamapp.local.display import make_console

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_NAMED_LINES = 5
_LONGEST_EVENT = 300
_NONE = "\N{EN DASH}"


@click.command(
    "compare",
    epilog="""\b
Examples:
  streamapp results --all --json > new.jsonl
  streamapp compare old.jsonl new.jsonl
  streamapp compare old.jsonl.gz new.jsonl --output report.html
  streamapp compare before.jsonl after.jsonl --min-agreement 0.99    for CI
""",
)
@click.argument("old", type=_FILE)
@click.argument("new", type=_FILE)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write an HTML report with each disagreement's picture beside both verdicts.",
)
@click.option(
    "--pictures",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with copies of the pictures, HOST/PATH, as `wget -x` saves them. [default: their URLs]",
)
@click.option(
    "--tolerance",
    default=DEFAULT_TOLERANCE,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="By which scores may differ.",
)
@click.option("--show", default=20, show_default=True, type=click.IntRange(0), help="Disagreements to list.")
@click.option(
    "--min-agreement",
    type=click.FloatRange(0, 1),
    help="Exit with 1 if TO_BE_MODERATED agrees on a smaller share of the events.",
)
def command(
    old: Path,
    new: Path,
    output: Path | None,
    pictures: Path | None,
    tolerance: float,
    show: int,
    min_agreement: float | None,
) -> None:
    """Compare the rows of two files, field by field: JSON lines, or dicts as the old deployment printed them.

    Rows of one event are found by UID, IMAGE_URL and EVENT_TIME; of several in a file the one with the latest
    MESSAGE_RECEIVE_TIME counts. Lines that hold no row are counted and named. Files may be gzipped. The rows
    of the smaller file are held in memory, about 2 KB for an event; the other one is streamed.
    """
    if pictures is not None and output is None:
        raise click.UsageError("--pictures is for the report: give --output, too.")
    if output is not None and output.resolve() in (old.resolve(), new.resolve()):
        raise click.UsageError(f"--output {output} is one of the files that are compared.")
    console = make_console()
    with console.status("Comparing"):
        comparison = compare(match_files(old, new), tolerance)
    _print(comparison, show, console)
    if output is not None:
        _write(output, comparison, pictures)
    if min_agreement is not None and comparison.verdict_agreement < min_agreement:
        raise StreamappError(
            f"{VERDICT} agrees on {comparison.verdict_agreement:.2%} of the events, which is less than "
            f"--min-agreement {min_agreement:g}."
        )


def _write(path: Path, comparison: Comparison, pictures: Path | None) -> None:
    try:
        write_report(path, comparison, pictures)
    except OSError as exc:
        raise StreamappError(f"{path} can't be written ({exc.strerror}): give another --output.") from exc
    click.echo(f"Report: {path}")


def _print(comparison: Comparison, show: int, console: Console) -> None:
    for side in (comparison.matching.old, comparison.matching.new):
        for line in _side_lines(side):
            console.print(Text(line), soft_wrap=True)
    shown = comparison.disagreements[:show]
    tables = [_confusion_table(comparison), _field_table(comparison), _seconds_table(comparison)]
    for table in (*tables, _disagreement_table(shown)):
        if table.row_count:
            console.print()
            console.print(table)
    console.print()
    left_out = len(comparison.disagreements) - len(shown)
    more = f" Not listed: {left_out:,}." if left_out else ""
    console.print(f"{comparison.sentence}{more}", soft_wrap=True)


def _side_lines(side: Side) -> list[str]:
    """What there is to say of a file: its rows, those without a partner, its bad lines."""
    parts = [f"{side.row_count:,} row{'' if side.row_count == 1 else 's'}"]
    if side.repeated_count:
        parts.append(f"{side.repeated_count:,} of them earlier rows of an event that came again")
    if side.unmatched_count:
        parts.append(f"{side.unmatched_count:,} of events that the other file does not have")
    lines = [f"{side.path}: {'; '.join(parts)}."]
    lines += [f"  only here: {_event(facts)}" for facts in side.unmatched[:_NAMED_LINES]]
    if side.bad_count:
        lines.append(f"  {side.bad_count:,} line{'' if side.bad_count == 1 else 's'} held no row:")
        lines += [f"    {bad}" for bad in side.bad_lines[:_NAMED_LINES]]
    return lines


def _event(facts: Facts) -> str:
    text = printable(f"user {facts.uid}, {facts.event_time or 'no time'}, {facts.url}")
    return text if len(text) <= _LONGEST_EVENT else f"{text[:_LONGEST_EVENT]}…"


def _confusion_table(comparison: Comparison) -> Table:
    table = _table("flagged by", "both", "old only", "new only", "neither", "kappa")
    for one in comparison.confusions:
        if one.event_count:
            counts = (one.both, one.old_only, one.new_only, one.neither)
            kappa = _NONE if one.kappa is None else f"{one.kappa:.3f}"
            table.add_row(one.name, *(f"{count:,}" for count in counts), kappa)
    return table


def _field_table(comparison: Comparison) -> Table:
    table = _table("field", "events", "differ", "agree", "same order")
    for one in comparison.fields:
        if one.share is not None:
            differ = one.event_count - one.agreed_count
            agree = Text(f"{one.share:.2%}", "" if differ == 0 else "yellow")
            table.add_row(one.field.name, f"{one.event_count:,}", f"{differ:,}", agree, _same_order(one))
    return table


def _same_order(one: FieldAgreement) -> str:
    is_ordered = one.field.kind is Kind.CATEGORIES and one.event_count
    return f"{one.same_order_count / one.event_count:.2%}" if is_ordered else ""


def _seconds_table(comparison: Comparison) -> Table:
    table = _table("median seconds", "old", "new")
    for one in comparison.seconds:
        table.add_row(one.name, f"{one.old_median_s:.3f}", f"{one.new_median_s:.3f}")
    return table


def _disagreement_table(disagreements: list[Disagreement]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("picture", width=24, overflow="ellipsis", no_wrap=True)
    table.add_column("user", max_width=12, overflow="ellipsis", no_wrap=True)
    table.add_column("old", no_wrap=True)
    table.add_column("new", no_wrap=True)
    table.add_column("unsafe", no_wrap=True)
    table.add_column("differs in", ratio=1)
    for one in disagreements:
        unsafe = f"{highest(one.old):.4f} → {highest(one.new):.4f}"
        table.add_row(
            Text(printable(picture_name(one.new.url))),
            Text(printable(one.new.uid)),
            _verdict(one.old),
            _verdict(one.new),
            unsafe,
            ", ".join(one.names),
        )
    return table


def _verdict(facts: Facts) -> Text:
    return Text("moderate", "bold red") if facts.flag(VERDICT) else Text("pass", "green")


def _table(first: str, *others: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column(first, no_wrap=True, min_width=32)
    for name in others:
        table.add_column(name, justify="right", no_wrap=True)
    return table
