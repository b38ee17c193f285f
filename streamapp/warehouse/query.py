"""Asks the warehouse one question."""

from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from streamapp.settings import Settings
from streamapp.warehouse.database import Row, open_warehouse

if TYPE_CHECKING:
    import psycopg


@dataclass(frozen=True, slots=True)
class Answer:
    """What a statement answers.

    Attributes:
        columns: their names.
        rows: as they come from the server: any number of them fits in memory.
    """

    columns: tuple[str, ...]
    rows: Iterator[Row]


@contextmanager
def ask(settings: Settings, sql: str, *, timeout_s: float) -> Iterator[Answer]:
    """Run one statement; what is not read of its answer when the block ends is cancelled.

    Raises:
        WarehouseError: the warehouse can't be reached or refuses the statement, as it does where it would
            write or is several statements.
    """
    with (
        open_warehouse(settings, statement_timeout_s=timeout_s) as connection,
        connection.cursor() as cursor,
        closing(_rows(cursor, sql)) as rows,
    ):
        first = next(rows, None)
        if first is None:
            # A stream without rows does not tell its columns.
            cursor.execute(sql.encode(), prepare=True)
        columns = tuple(column.name for column in cursor.description or ())
        yield Answer(columns, iter(()) if first is None else chain([first], rows))


def _rows(cursor: "psycopg.Cursor[Row]", sql: str) -> Generator[Row]:
    # Not `execute`: that takes several statements, and the whole answer into memory.
    yield from cursor.stream(sql.encode())
