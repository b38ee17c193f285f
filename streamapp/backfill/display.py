"""What a backfill shows: its plan, its progress, its end; plain lines where the output is no terminal."""

import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from streamapp.backfill.plan import Plan
from streamapp.backfill.ranges import offsets_in
from streamapp.backfill.run import Backfill
from streamapp.backfill.selection import Selection

_PLAIN_LINES = 20


class _RateColumn(ProgressColumn):
    """Events per second, of the last moments."""

    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:.1f}/s")


def show_plan(
    console: Console,
    plan: Plan,
    topic: str,
    selection: Selection | None,
    rate_per_s: float | None,
    *,
    is_dry: bool,
) -> None:
    """Show what is left to do, by partition.

    Args:
        topic: that the events are read from.
        selection: the events that are wanted; None: all.
        is_dry: the run's id is left out, for the broker may not know it.
    """
    table = Table()
    for name in ("partition", "from", "to", "offsets", *(() if selection is None else ("chosen",))):
        table.add_column(name, justify="right")
    events = 0
    for number, rest in plan.left.items():
        chosen = offsets_in(rest) if selection is None else selection.count(number)
        cells = [number, rest.first, rest.end - 1, offsets_in(rest), chosen]
        table.add_row(*map(str, cells[: len(table.columns)]))
        events += chosen
    console.print(table)
    least = "" if rate_per_s is None else f", in {events / rate_per_s:.0f} s or more"
    what = "To be re-read" if is_dry else f"Run {plan.run}"
    console.print(f"{what}: {events} events of {topic}; rows to {plan.results_topic}{least}.", soft_wrap=True)


def show_end(console: Console, run: str, backfill: Backfill, seconds: float) -> None:
    """Say what became of the events, of this attempt alone.

    Args:
        seconds: that it took.
    """
    events = sum(backfill.outcomes.values())
    how = "is done" if backfill.is_complete else "was stopped"
    rate = f"{events / seconds:.1f}/s" if seconds > 0 else "at once"
    console.print(
        f"Run {run} {how}: {events} events in {seconds:.1f} s ({rate}): {_listed(backfill.outcomes)}.",
        soft_wrap=True,
    )
    if backfill.reasons:
        console.print(f"Rows without a verdict: {_listed(backfill.reasons)}.", soft_wrap=True)


def _listed(counts: Counter[str]) -> str:
    most_first = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count} {name}" for name, count in most_first) or "none"


@contextmanager
def backfill_progress(console: Console, done: int, total: int) -> Iterator[Callable[[], None]]:
    """A bar of offsets with the rate and the time left; the function that it gives counts one.

    Args:
        done: how many were done by the attempts before.
    """
    if not console.is_terminal:
        yield _plain_lines(console, done, total)
        return
    columns = (SpinnerColumn(), TextColumn("backfill"), BarColumn(), MofNCompleteColumn(), _RateColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        task = progress.add_task("", total=total, completed=done)
        yield lambda: progress.advance(task)


@contextmanager
def log_above_bar() -> Iterator[None]:
    """Let the log's lines on a terminal push the bar down: through the stderr that rich has put in place."""
    handlers = [one for one in logging.root.handlers if isinstance(one, logging.StreamHandler)]
    before = [(one, one.stream) for one in handlers] if sys.stderr.isatty() else []
    for handler, _ in before:
        handler.setStream(sys.stderr)
    try:
        yield
    finally:
        for handler, stream in before:
            handler.setStream(stream)


def _plain_lines(console: Console, done: int, total: int) -> Callable[[], None]:
    every = max(1, total // _PLAIN_LINES)
    started_s, before, now = time.monotonic(), done, done

    def count() -> None:
        nonlocal now
        now += 1
        if now % every == 0 or now == total:
            rate_per_s = (now - before) / max(1e-3, time.monotonic() - started_s)
            left_s = (total - now) / rate_per_s
            console.print(f"  backfill: {now} of {total}, {rate_per_s:.1f}/s, {left_s:.0f} s left")

    return count
