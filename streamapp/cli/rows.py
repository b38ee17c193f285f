"""How rows look in a terminal: one table for `results` and `moderate`."""

from collections.abc import Sequence
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from rich.table import Table
from rich.text import Text

from streamapp.records import ModelAttributes, ResultRow


def row_table(rows: Sequence[ResultRow], *, has_users: bool = True) -> Table:
    """Rows as a table that fits 100 columns."""
    table = Table()
    table.add_column("picture", max_width=30, overflow="fold")
    if has_users:
        table.add_column("user", max_width=14, overflow="ellipsis", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("unsafe", justify="right", no_wrap=True)
    table.add_column("status", justify="right", no_wrap=True)
    table.add_column("reason", no_wrap=True)
    table.add_column("seconds", justify="right", no_wrap=True)
    for row in rows:
        attributes = row.MODEL_ATTRIBUTES
        user = [Text(printable(row.UID))] if has_users else []
        table.add_row(
            Text(printable(picture_name(row.IMAGE_URL))),
            *user,
            Text("moderate", "bold red") if row.TO_BE_MODERATED else Text("pass", "green"),
            Text(highest_score(attributes.NN_UNSAFE_SCORES)),
            Text(_status(attributes)),
            Text(printable(str(attributes.PROVENANCE.get("reason") or ""))),
            Text(f"{row.TOTAL_DURATION:.3f}"),
        )
    return table


def row_line(row: ResultRow) -> str:
    """A row as one line, for output that has no end: a table can't grow."""
    verdict = "moderate" if row.TO_BE_MODERATED else "pass"
    reason = row.MODEL_ATTRIBUTES.PROVENANCE.get("reason") or ""
    return printable(f"{verdict:8} {row.TOTAL_DURATION:7.3f} s  {row.UID:14} {reason:18} {row.IMAGE_URL}")


def summary(rows: Sequence[ResultRow], noun: str) -> str:
    """How many rows there are, and how many of them a person must look at."""
    plural = "" if len(rows) == 1 else "s"
    return f"{len(rows)} {noun}{plural}, {sum(row.TO_BE_MODERATED for row in rows)} to be moderated."


def printable(text: str) -> str:
    """The text without control characters: users choose it, and a terminal would obey them."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "\ufffd" for c in text)


def picture_name(url: str) -> str:
    """The last part of a URL's path, or of a file's, by which a person knows the picture.

    Of a ``data:`` URL, which has none, its media type: ``data: image/png``.
    """
    if url[:5].lower() == "data:":
        return f"data: {url[5:85].partition(',')[0].partition(';')[0]}".rstrip()
    try:
        return PurePosixPath(urlsplit(url).path if "://" in url else url).name or url
    except ValueError:
        return url


def highest_score(scores: str) -> str:
    """The highest of a row's joined scores; empty where there is none."""
    return max(scores.split(", "), key=float) if scores else ""


def _status(attributes: ModelAttributes) -> str:
    """One STATUS where all models have the same, as they do without a picture; else each model's."""
    found = list(attributes.statuses().values())
    return " ".join(map(str, found[:1] if len(set(found)) == 1 else found))
