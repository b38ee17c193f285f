"""The connection to the warehouse: read-only, with a time limit, its errors as ours."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from streamapp.errors import WarehouseError
from streamapp.settings import Settings

if TYPE_CHECKING:
    import psycopg

Row = tuple[Any, ...]

DEFAULT_URL = "postgresql://streamapp@127.0.0.1:5432/warehouse"
_CONNECT_TIMEOUT_S = 10


@contextmanager
def open_warehouse(settings: Settings, *, statement_timeout_s: float) -> Iterator["psycopg.Connection[Row]"]:
    """A connection that can't write; times come back in UTC.

    Args:
        statement_timeout_s: longest time that one statement may take.

    Raises:
        WarehouseError: psycopg is not installed, or the warehouse does not answer; and in the block, in place
            of any of its errors.
    """
    try:
        import psycopg
    except ImportError as exc:
        raise WarehouseError(
            "The warehouse needs the package psycopg: pip install 'streamapp[warehouse]'."
        ) from exc
    url = _url(settings)
    try:
        where = _where(psycopg.conninfo.conninfo_to_dict(url))
    except psycopg.ProgrammingError as exc:
        # Its own message has the URL, and the password with it.
        raise WarehouseError(f"STREAMAPP_WAREHOUSE_URL is not of the form {DEFAULT_URL}.") from exc
    # Read-only by the session and not the transaction: the SQL may end that one.
    options = f"-c default_transaction_read_only=on -c statement_timeout={statement_timeout_s * 1000:.0f}"
    options += " -c timezone=UTC"
    try:
        connection = psycopg.connect(
            url, autocommit=True, options=options, connect_timeout=_CONNECT_TIMEOUT_S
        )
    except psycopg.Error as exc:
        raise WarehouseError(
            f"The warehouse at {where} can't be reached: {_one_line(exc)}. STREAMAPP_WAREHOUSE_URL says "
            "where it is, PGPASSWORD has its password."
        ) from exc
    try:
        with connection:
            yield connection
    except psycopg.Error as exc:
        raise _translated(exc, statement_timeout_s) from exc


def _url(settings: Settings) -> str:
    return DEFAULT_URL if settings.warehouse_url is None else settings.warehouse_url.get_secret_value()


def _where(parts: dict[str, Any]) -> str:
    """The address without the password."""
    return f"{parts.get('host', 'localhost')}:{parts.get('port', 5432)}/{parts.get('dbname', '')}"


def _translated(error: "psycopg.Error", statement_timeout_s: float) -> WarehouseError:
    from psycopg import errors

    if isinstance(error, errors.ReadOnlySqlTransaction):
        return WarehouseError(f"The warehouse is only read here: {_one_line(error)}.")
    if isinstance(error, errors.QueryCanceled):
        return WarehouseError(
            f"The warehouse did not answer within {statement_timeout_s:g} s. Ask for less: a query by a "
            "condition on message_receive_time or hour (or give it more --timeout), a check by --since."
        )
    if isinstance(error, errors.UndefinedTable):
        return WarehouseError(
            f"{_one_line(error)}. The warehouse's own tables and views are made by connect/postgres/*.sql, "
            "in their order."
        )
    return WarehouseError(f"The warehouse answers: {_one_line(error)}.")


def _one_line(error: "psycopg.Error") -> str:
    """What it says, without the SQL that it repeats, and without libpq's questions, which a tab indents."""
    text = error.diag.message_primary or re.sub(r"\n\t.*", "", str(error))
    if error.diag.message_hint:
        text += f" ({error.diag.message_hint})"
    return " ".join(text.split()).removesuffix(".")
