"""Progress on the terminal; plain lines where the output is no terminal."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

_PLAIN_WIDTH = 100
_PLAIN_LINES = 5  # of progress where the total is known
_PLAIN_EVERY = 1000  # things between two lines where it is not


def make_console() -> Console:
    """A console on stdout; 100 columns where it is no terminal, so that tables do not fold."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_PLAIN_WIDTH)


@contextmanager
def step(console: Console, doing: str) -> Iterator[None]:
    """Show that something is being done, then that it was and how long it took; nothing more if it raises."""
    started = time.monotonic()
    with console.status(doing):
        yield
    console.print(f"[green]✓[/] {doing} [dim]{time.monotonic() - started:.1f} s[/]")


@contextmanager
def counted(console: Console, doing: str, total: int | None) -> Iterator[Callable[[], None]]:
    """A progress bar; the function that it gives counts one thing as done.

    Args:
        total: how many there are; None: not known yet.
    """
    if console.is_terminal:
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
            task = progress.add_task(doing, total=total)
            yield lambda: progress.advance(task)
        return
    done = 0
    every = _PLAIN_EVERY if total is None else max(1, total // _PLAIN_LINES)

    def count() -> None:
        nonlocal done
        done += 1
        if done % every == 0 or done == total:
            console.print(f"  {doing}: {done}" + ("" if total is None else f" of {total}"))

    yield count
