"""connect/snowflake's portable files on fakesnow: Snowflake's dialect on DuckDB, in this process alone."""

import io
import json
import warnings
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Self, TypeVar, cast

from fakesnow.instance import FakeSnow
from snowflake.connector import DictCursor
from snowflake.connector.util_text import split_statements
from warehouse.landed_rows import Landed

SQL = Path(__file__).parents[2] / "connect" / "snowflake"
TABLE = "DS_CONTENT_MODERATION_TAGGING_1ST_LAYER"
PORTABLE = ("1-table.sql", "2-views.sql", "3-errors.sql")

Answer = TypeVar("Answer")


def statements_of(file: str) -> list[str]:
    """A file's statements without their comments, split as Snowflake's own clients do it."""
    text = (SQL / file).read_text("utf-8")
    parts = [part for part, _ in split_statements(io.StringIO(text), remove_comments=True)]
    return [part.strip().removesuffix(";") for part in parts if part and part.strip()]


class SnowflakeDatabase:
    """A database STREAMAPP with the table and the views, and these rows in it; as a context manager."""

    def __init__(self, landed: Iterable[Landed] = ()) -> None:
        self._snowflake = FakeSnow()
        self._connection = self._snowflake.connect(database="STREAMAPP", schema="MODERATION")
        # Snowflake's IS_OBJECT, which fakesnow lacks.
        self._snowflake.duck_conn.execute(
            "create macro STREAMAPP.MODERATION.is_object(value) as json_type(value) = 'OBJECT'"
        )
        for file in PORTABLE[:2]:
            for statement in statements_of(file):
                self.query(statement)
        for one in landed:
            self._insert(one)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._snowflake.duck_conn.close()

    def query(self, sql: str, parameters: Sequence[object] = ()) -> list[dict[str, Any]]:
        """The rows by their columns' names, which are in upper case."""
        cursor = self._connection.cursor(DictCursor)
        with warnings.catch_warnings():
            # fakesnow asks DuckDB for Arrow tables in a way that DuckDB 2 finds slow.
            warnings.filterwarnings("ignore", "Arrow output on a DB-API result", UserWarning)
            cursor.execute(sql, tuple(parameters) or None)
            return cast(list[dict[str, Any]], cursor.fetchall())

    def columns(self, view: str) -> dict[str, str]:
        """Name → type of a table's or a view's columns, in their order."""
        return {row["name"]: row["type"] for row in self.query(f"DESCRIBE TABLE {view}")}

    def _insert(self, landed: Landed) -> None:
        row = landed.row | {"RECORD_METADATA": landed.metadata}
        as_json = {"MODEL_ATTRIBUTES", "RECORD_METADATA"}
        places = ", ".join("PARSE_JSON(%s)" if name in as_json else "%s" for name in row)
        values = [
            json.dumps(value) if name in as_json and value is not None else value
            for name, value in row.items()
        ]
        self.query(f"INSERT INTO {TABLE} ({', '.join(row)}) SELECT {places}", values)


def on_one_date(ask: Callable[[], Answer]) -> tuple[date, Answer]:
    """The answer, asked for again where midnight (UTC) passed meanwhile, and its date."""
    day = datetime.now(UTC).date()
    answer = ask()
    return (day, answer) if datetime.now(UTC).date() == day else on_one_date(ask)


def comparable(value: object) -> object:
    """A value as both warehouses have it: naive UTC, floats to 9 places, JSON as text, its keys in order."""
    if isinstance(value, datetime):
        return value.replace(tzinfo=None)
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float | Decimal):
        return round(float(value), 9)
    if isinstance(value, str) and value.startswith("{"):
        value = json.loads(value)
    return json.dumps(value, sort_keys=True) if isinstance(value, dict) else value


def comparable_rows(rows: Iterable[dict[str, Any]]) -> list[tuple[object, ...]]:
    """The rows in an order of their own, for views that promise none."""
    return sorted((tuple(comparable(value) for value in row.values()) for row in rows), key=repr)
