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

# The local warehouse's only user is a superuser, who may read and write the server's files, too.
_AS_READER = (
    "select set_config('role', 'pg_read_all_data', true) where current_setting('is_superuser') = 'on'"
)


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

    In a transaction of its own, and not only a session, that reads: a DO block could change the session,
    commit, and write. As one who may read all tables and no more. This is against mistakes, and no wall
    around a user whose password is at hand.

    Raises:
        WarehouseError: the warehouse can't be reached or refuses the statement, as it does where it would
            write or is several statements.
    """
    with (
        open_warehouse(settings, statement_timeout_s=timeout_s) as connection,
        connection.cursor() as cursor,
        closing(_rows(cursor, sql)) as rows,
    ):
        cursor.execute("begin read only")
        cursor.execute(_AS_READER)
        first = next(rows, None)
        if first is None:
            # A stream without rows does not tell its columns.
            cursor.execute(sql.encode(), prepare=True)
        columns = tuple(column.name for column in cursor.description or ())
        yield Answer(columns, iter(()) if first is None else chain([first], rows))


def _rows(cursor: "psycopg.Cursor[Row]", sql: str) -> Generator[Row]:
    # Not `execute`: that takes several statements, and the whole answer into memory.
    yield from cursor.stream(sql.encode())
