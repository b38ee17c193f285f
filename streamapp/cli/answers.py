"""How the warehouse's answers look: table, JSON lines, CSV. Texts are users': a terminal gets no raw one."""

import csv
import sys
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import click
import msgspec
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from streamapp.cli.rows import printable
from streamapp.warehouse.database import Row

# More columns than these do not fit side by side in 100 characters.
_MOST_COLUMNS = 7
# Columns of longer texts than a time may break them, into lines of so many characters at least.
_NARROW = 19
_SHORTEST_LINE = 12
_LONGEST_CELL = 400


def print_table(columns: Sequence[str], rows: Sequence[Row], console: Console) -> None:
    """Print rows side by side, or where there are many or wide columns each as a list of its own."""
    widths = _widths(columns, rows)
    if len(columns) <= _MOST_COLUMNS and _fits(columns, widths, console.width):
        console.print(_table(columns, rows, widths))
        return
    width = max(map(len, columns))
    for number, row in enumerate(rows, 1):
        console.print(f"[bold]row {number}[/]")
        for name, value in zip(columns, row, strict=True):
            if value is not None:
                console.print(Text(f"  {name:{width}}  {_cell(value)}"), overflow="fold")


def _widths(columns: Sequence[str], rows: Sequence[Row]) -> list[int]:
    """Of each column the widest of its texts, its name among them, in a terminal's cells."""
    return [
        max(cell_len(text) for text in (name, *(_cell(row[index]) for row in rows)))
        for index, name in enumerate(columns)
    ]


def _fits(columns: Sequence[str], widths: Sequence[int], width: int) -> bool:
    """Whether a table breaks no name, and texts of wide columns alone, which share what the others leave."""
    wide = [name for name, one in zip(columns, widths, strict=True) if one > _NARROW]
    share = max((_SHORTEST_LINE, *map(cell_len, wide)))
    return 1 + sum(3 + (one if one <= _NARROW else share) for one in widths) <= width


def _table(columns: Sequence[str], rows: Sequence[Row], widths: Sequence[int]) -> Table:
    table = Table()
    for index, name in enumerate(columns):
        is_number = any(isinstance(row[index], int | float | Decimal) for row in rows)
        table.add_column(
            Text(printable(name)),
            overflow="fold",
            # Only these give way where all together are too wide.
            no_wrap=widths[index] <= _NARROW,
            justify="right" if is_number else "left",
        )
    for row in rows:
        table.add_row(*(Text(_cell(value)) for value in row))
    return table


def print_json_lines(columns: Sequence[str], rows: Iterable[Row]) -> None:
    """Print each row as a JSON object."""
    for row in rows:
        values = {name: _plain(value) for name, value in zip(columns, row, strict=True)}
        click.echo(msgspec.json.encode(values, enc_hook=str))


def print_csv(columns: Sequence[str], rows: Iterable[Row]) -> None:
    """Print a line with the names and one for each row; no value is an empty one, an object is JSON."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow("" if value is None else _text(value) for value in row)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:.1f}"
    text = f"{value:%Y-%m-%d %H:%M:%S}" if isinstance(value, datetime) else _text(value)
    return printable(text if len(text) <= _LONGEST_CELL else f"{text[:_LONGEST_CELL]}…")


def _text(value: Any) -> str:
    value = _plain(value)
    if isinstance(value, str):
        return value
    return msgspec.json.encode(value, enc_hook=str).decode()


def _plain(value: Any) -> Any:
    """A value as JSON has it; bytes as PostgreSQL writes them."""
    match value:
        case bytes():
            return f"\\x{value.hex()}"
        case datetime() | date():
            return value.isoformat()
        case Decimal():
            return float(value)
        case _:
            return value
