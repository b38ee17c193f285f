"""The comparison's report: pictures beside both verdicts, in one HTML file without scripts."""

from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from urllib.parse import SplitResult, unquote, urlsplit

from streamapp.cards import covered, style, tabs
from streamapp.comparison.agreement import Comparison, Disagreement
from streamapp.comparison.fields import UNSAFE, VERDICT, Facts, Value

MOST_CARDS = 500
LONGEST_TEXT = 300
_NONE = "\N{EN DASH}"
_PICTURE_SCHEMES = ("http", "https")
_KINDS = {"missed": "now passed", "new": "newly flagged", "same": "same verdict"}
_ALWAYS_SHOWN = (VERDICT, UNSAFE)


def write_report(path: Path, comparison: Comparison, pictures: Path | None = None) -> None:
    """Write the report. What comes from rows is escaped; a picture is shown by its http or https URL.

    Args:
        path: of the HTML file.
        comparison: the first `MOST_CARDS` of its disagreements get a card.
        pictures: folder of copies, which are shown instead of the URLs: ``host/path`` in it for a URL,
            as ``wget --force-directories`` saves it, and ``path`` for a row of `streamapp moderate`.
    """
    template = Template(files("streamapp.comparison").joinpath("report.html").read_text(encoding="utf-8"))
    shown = comparison.disagreements[:MOST_CARDS]
    html = template.substitute(
        files=escape(f"{comparison.matching.old.path.name} → {comparison.matching.new.path.name}"),
        summary=escape(_summary(comparison)),
        confusions="\n".join(_confusion_rows(comparison)),
        fields="\n".join(_field_rows(comparison)),
        style=style(_KINDS),
        tabs=tabs(_KINDS, [kind_of(one) for one in shown]),
        cards="\n".join(_card(number, one, pictures) for number, one in enumerate(shown)),
        footer=escape(_footer(comparison, len(shown))),
    )
    # JSON may hold half of a surrogate pair, which no file can.
    path.write_text(html, encoding="utf-8", errors="replace")


def picture_url(url: str, pictures: Path | None) -> str | None:
    """Where a browser finds the picture: the copy in the folder, else its own http or https URL."""
    try:
        parts = urlsplit(url)
        if pictures is not None and (copy := _copy_in(pictures, parts)):
            return copy.as_uri()
    except ValueError:
        return None
    return url if parts.scheme in _PICTURE_SCHEMES and parts.netloc else None


def _copy_in(folder: Path, parts: SplitResult) -> Path | None:
    """The copy of a picture, which must lie in the folder whatever its path says.

    Raises:
        ValueError: the URL's port is none, or its path can be no file's.
    """
    place = parts.hostname or ""
    if parts.port is not None:
        place += f":{parts.port}"
    folder = folder.resolve()
    for name in (f"{parts.path}?{parts.query}", parts.path):
        name = unquote(name)
        # A URL's path is below its host's folder; that of a file may be a whole one.
        copy = (folder / place / name.lstrip("/") if place else folder / name).resolve()
        if copy.is_relative_to(folder) and copy.is_file():
            return copy
    return None


def kind_of(one: Disagreement) -> str:
    """Whether the new rows miss what the old ones flagged, flag anew, or differ in something else."""
    if not one.is_of_verdict:
        return "same"
    return "missed" if one.old.flag(VERDICT) else "new"


def shown_value(value: Value) -> str:
    """A field's value in a few words."""
    match value:
        case None:
            return _NONE
        case bool():
            return "yes" if value else "no"
        case tuple():
            parts = (f"{part:.4f}" if isinstance(part, float) else part for part in value)
            return _shortened(", ".join(parts)) or _NONE
    return str(value)


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}…"


def _summary(comparison: Comparison) -> str:
    matching = comparison.matching
    return (
        f"{comparison.sentence} Rows of events that only one file has: "
        f"{matching.old.unmatched_count:,} in the old one, {matching.new.unmatched_count:,} in the new one."
    )


def _confusion_rows(comparison: Comparison) -> list[str]:
    return [
        _row(one.name, one.both, one.old_only, one.new_only, one.neither, _decimal(one.kappa))
        for one in comparison.confusions
        if one.event_count
    ]


def _field_rows(comparison: Comparison) -> list[str]:
    return [
        _row(one.field.name, one.event_count, one.event_count - one.agreed_count, f"{one.share:.2%}")
        for one in comparison.fields
        if one.share is not None
    ]


def _row(name: str, *cells: object) -> str:
    numbers = "".join(f"<td>{cell:,}</td>" if isinstance(cell, int) else f"<td>{cell}</td>" for cell in cells)
    return f"<tr><th>{escape(name)}</th>{numbers}</tr>"


def _decimal(value: float | None) -> str:
    return _NONE if value is None else f"{value:.3f}"


def _card(number: int, one: Disagreement, pictures: Path | None) -> str:
    kind = kind_of(one)
    names = [*_ALWAYS_SHOWN, *(name for name in one.names if name not in _ALWAYS_SHOWN)]
    rows = "".join(_compared_row(name, one) for name in names)
    title = escape(_shortened(one.new.url))
    return f"""<article class="card is-{kind}">
{_well(number, one, pictures)}
<div class="text">
<div class="title"><h2>{title}</h2><span class="pill {kind}">{_KINDS[kind]}</span></div>
<p class="user">{escape(_user(one.new))}</p>
<table><tr><th></th><th>old</th><th>new</th></tr>{rows}</table>
</div>
</article>"""


def _compared_row(name: str, one: Disagreement) -> str:
    differs = ' class="differs"' if name in one.names else ""
    old, new = (escape(shown_value(facts.value(name))) for facts in (one.old, one.new))
    # A long name may break where it has underscores.
    return f"<tr{differs}><th>{escape(name).replace('_', '_<wbr>')}</th><td>{old}</td><td>{new}</td></tr>"


def _well(number: int, one: Disagreement, pictures: Path | None) -> str:
    """The picture, blurred where one of the rows flags it."""
    url = picture_url(one.new.url, pictures)
    if url is None:
        return '<div class="well"><p class="nothing">No http or https URL, and no copy of it.</p></div>'
    image = f'<img src="{escape(url)}" alt="" loading="lazy" referrerpolicy="no-referrer">'
    if not (one.old.flag(VERDICT) or one.new.flag(VERDICT)):
        return f'<div class="well">{image}</div>'
    return covered(number, f'<div class="well blurred">{image}</div>')


def _user(facts: Facts) -> str:
    return _shortened(f"user {facts.uid}" + (f", {facts.event_time}" if facts.event_time else ""))


def _footer(comparison: Comparison, shown_count: int) -> str:
    left_out = len(comparison.disagreements) - shown_count
    bad = comparison.matching.old.bad_count + comparison.matching.new.bad_count
    parts = [
        f"Scores agree within {comparison.tolerance:g}, over all frames of a picture; categories as sets.",
        "A model's fields are compared where it is on in both rows.",
    ]
    if left_out:
        parts.append(f"{left_out:,} more disagreements are not shown.")
    if bad:
        parts.append(f"{bad:,} lines held no row and were left out.")
    return " ".join(parts)
