"""How rows look in a terminal: one table for `results` and `moderate`."""

from collections.abc import Iterable
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from rich.table import Table
from rich.text import Text

from streamapp.records import ModelAttributes, ResultRow

PREFIXES = ("NN", "MFD", "CLIP", "COOP")


def row_table(rows: Iterable[ResultRow], title: str | None = None) -> Table:
    """Rows as a table that fits 100 columns."""
    table = Table(title=title, title_justify="left", expand=False)
    table.add_column("picture", max_width=30, overflow="fold")
    table.add_column("user", max_width=14, overflow="ellipsis", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("unsafe", justify="right")
    table.add_column("status", justify="right", no_wrap=True)
    table.add_column("reason")
    table.add_column("seconds", justify="right")
    for row in rows:
        attributes = row.MODEL_ATTRIBUTES
        table.add_row(
            Text(picture_name(row.IMAGE_URL)),
            Text(row.UID),
            Text("moderate", "bold red") if row.TO_BE_MODERATED else Text("pass", "green"),
            Text(highest_score(attributes.NN_UNSAFE_SCORES)),
            Text(" ".join(str(status) for status in statuses(attributes).values())),
            Text(attributes.PROVENANCE.get("reason") or ""),
            Text(f"{row.TOTAL_DURATION:.3f}"),
        )
    return table


def picture_name(url: str) -> str:
    """The last part of a URL's path, by which a person knows the picture."""
    try:
        return PurePosixPath(urlsplit(url).path).name or url
    except ValueError:
        return url


def highest_score(scores: str) -> str:
    """The highest of a row's joined scores; empty where there is none."""
    return max(scores.split(", "), key=float) if scores else ""


def statuses(attributes: ModelAttributes) -> dict[str, int]:
    """Prefix → STATUS of the models that are on."""
    every = {prefix: getattr(attributes, f"{prefix}_STATUS") for prefix in PREFIXES}
    return {prefix: status for prefix, status in every.items() if status != -1}
