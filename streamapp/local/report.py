"""The demo's report: pictures beside their verdicts, in one HTML file that loads nothing."""

import base64
import io
import json
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from PIL import Image

from streamapp.cards import covered, style, tabs
from streamapp.local.summary import (
    DEAD_LETTER,
    FAIL_CLOSED,
    FLAGGED,
    NO_RECORD,
    PASSED,
    CaseResult,
    check_line,
    sentence,
)
from streamapp.media import Pixels
from streamapp.media.decode import Limits, decode
from streamapp.records import ResultRow

_THUMBNAIL_SIDE_PX = 420
_MOST_FRAMES = 4
_MIDDLE_DOT = "\N{MIDDLE DOT}"
_NBSP = "\N{NO-BREAK SPACE}"
_TIMES = "\N{MULTIPLICATION SIGN}"
_KINDS = {
    PASSED: "passed",
    FLAGGED: "flagged",
    FAIL_CLOSED: "closed",
    DEAD_LETTER: "dead",
    NO_RECORD: "none",
}


def write_report(path: Path, results: Sequence[CaseResult], summary: str) -> None:
    """Write the report; everything that comes from rows is escaped, pictures are inlined as small JPEGs.

    Args:
        path: of the HTML file.
        results: one card each, in this order.
        summary: the sentence below the headline.
    """
    template = Template(files("streamapp.local").joinpath("report.html").read_text(encoding="utf-8"))
    html = template.substitute(
        headline=f"{len(results)} events",
        summary=escape(summary),
        check=escape(check_line(results)),
        check_class="wrong" if any(result.differences for result in results) else "",
        style=style(_KINDS.values()),
        tabs=tabs(
            {kind: verdict for verdict, kind in _KINDS.items()}, [_KINDS[one.verdict] for one in results]
        ),
        cards="\n".join(_card(number, result) for number, result in enumerate(results)),
        footer=_footer(results),
    )
    path.write_text(html, encoding="utf-8")


def _card(number: int, result: CaseResult) -> str:
    kind = _KINDS[result.verdict]
    wrong = "".join(f'<p class="wrong">✗ {escape(text)}</p>' for text in result.differences)
    return f"""<article class="card is-{kind}">
{_well(number, result)}
<div class="text">
<div class="title"><h2>{escape(result.case.title)}</h2><span class="pill {kind}">{result.verdict}</span></div>
<dl>{"".join(f"<dt>{term}</dt><dd>{escape(text)}</dd>" for term, text in _facts(result) if text)}</dl>
{wrong}{_record(result)}
</div>
</article>"""


def _well(number: int, result: CaseResult) -> str:
    frames = _frames(result)
    if not frames:
        return f'<div class="well"><p class="nothing">{_why_no_picture(result)}</p></div>'
    several = " several" if len(frames) > 1 else ""
    if result.verdict != FLAGGED:
        return f'<div class="well{several}">{"".join(frames)}</div>'
    return covered(number, f'<div class="well blurred{several}">{"".join(frames)}</div>')


def _why_no_picture(result: CaseResult) -> str:
    if result.row is not None and result.reason is not None:
        return f"<code>STATUS {result.row.MODEL_ATTRIBUTES.NN_STATUS}</code>{escape(sentence(result.reason))}"
    if result.outcome is None:
        return "<code>∅</code>The picture was removed; there is nothing to look at."
    return f"<code>{escape(result.outcome.dead_letter or '')}</code>{escape(result.outcome.message)}"


def _frames(result: CaseResult) -> list[str]:
    """The key frames as HTML; empty where the row says that there was nothing to see."""
    if result.row is None or result.reason is not None or not result.case.content:
        return []
    provenance = result.row.MODEL_ATTRIBUTES.PROVENANCE
    frames = list(provenance.get("frames") or [])
    detections = [per_frame for _, per_frame in sorted((provenance.get("detections") or {}).items())]
    size_px = _size_px(provenance) or (1, 1)
    # Decoded as the worker does it: the page shows what the models saw.
    pixels = {frame.index: frame.pixels for frame in decode(result.case.content, Limits()).frames}
    html = []
    for number, frame in enumerate(frames[:_MOST_FRAMES]):
        found = [box for per_frame in detections if number < len(per_frame) for box in per_frame[number]]
        boxes = "".join(_box(thing, size_px) for thing in found if "box" in thing)
        url = _thumbnail_url(pixels[int(frame["index"])])
        alt = f"{result.case.title}, {result.verdict}"
        time = ""
        if len(frames) > 1:
            alt += f", frame {number + 1}"
            time = f'<span class="time">{float(frame["time_s"]):.1f} s</span>'
        picture = f'<img src="{url}" alt="{escape(alt)}">'
        ratio = f"--ratio: {size_px[0]} / {size_px[1]}"
        html.append(f'<div class="frame" style="{ratio}">{picture}{boxes}{time}</div>')
    return html


def _size_px(provenance: Mapping[str, Any]) -> tuple[int, int] | None:
    content = provenance.get("content") or {}
    width, height = content.get("width_px"), content.get("height_px")
    return (int(width), int(height)) if width and height else None


def _box(detection: Mapping[str, Any], size_px: tuple[int, int]) -> str:
    """A detection as a rectangle in per cent of the picture, so that it scales with it."""
    x, y, width, height = (float(value) for value in detection["box"])
    left, top = 100 * x / size_px[0], 100 * y / size_px[1]
    across, down = 100 * width / size_px[0], 100 * height / size_px[1]
    label = str(detection["label"])
    kind = "box" + (" unsafe" if label.endswith("_EXPOSED") else "")
    kind += (" inside" if top < 8 else "") + (" right" if left > 55 else "")
    text = f"{label.replace('_', ' ').lower()} {float(detection['score']):.2f}"
    place = f"left:{left:.2f}%;top:{top:.2f}%;width:{across:.2f}%;height:{down:.2f}%"
    return f'<div class="{kind}" style="{place}"><span>{escape(text)}</span></div>'


def _thumbnail_url(pixels: Pixels) -> str:
    """A frame, small, as a data: URL."""
    shown = Image.fromarray(pixels)
    shown.thumbnail((_THUMBNAIL_SIDE_PX, _THUMBNAIL_SIDE_PX))
    out = io.BytesIO()
    shown.save(out, "JPEG", quality=76, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()


def _facts(result: CaseResult) -> list[tuple[str, str]]:
    """Term and text, in the card's order; an empty text is left out."""
    row = result.row
    if row is None:
        return [("user", result.case.user_id or "")] if result.case.value is None else []
    attributes = row.MODEL_ATTRIBUTES
    provenance = attributes.PROVENANCE
    return [
        ("user", row.UID),
        ("unsafe", attributes.NN_UNSAFE_SCORES),
        ("category", _categories(row)),
        ("reason", result.reason or ""),
        ("file", _file_fact(provenance)),
        ("time", f"{row.TOTAL_DURATION:.3f}{_NBSP}s"),
        ("stages", _stages_fact(provenance.get("stages") or {})),
    ]


def _categories(row: ResultRow) -> str:
    """Primary and secondary categories, as CoOp and CLIP chose them, and what to make of the tiny CLIP's."""
    categories = (row.PREDICTED_PRIMARY_CATEGORY, row.PREDICTED_SECONDARY_CATEGORY)
    text = f" {_MIDDLE_DOT} ".join(category for category in categories if category)
    models = row.MODEL_ATTRIBUTES.PROVENANCE.get("models") or {}
    is_tiny = any(str(model.get("name")).startswith("tinyclip") for model in models.values())
    return f"{text} (a guess: the tiny CLIP knows emoji, not photos)" if text and is_tiny else text


def _file_fact(provenance: Mapping[str, Any]) -> str:
    size_px = _size_px(provenance)
    if size_px is None:
        return ""
    content = provenance["content"]
    kind = str(content["media_type"]).partition("/")[2].upper()
    size = f"{size_px[0]}{_TIMES}{size_px[1]}{_NBSP}px"
    return f"{kind}, {size}, {content['bytes'] / 1000:,.0f}{_NBSP}kB"


def _stages_fact(stages: Mapping[str, Any]) -> str:
    durations_ms = {name.removesuffix("_s"): round(1000 * float(seconds)) for name, seconds in stages.items()}
    return ", ".join(f"{name}{_NBSP}{value}{_NBSP}ms" for name, value in durations_ms.items() if value)


def _record(result: CaseResult) -> str:
    if result.outcome is None:
        return ""
    text = result.outcome.value.decode(errors="replace")
    if result.row is not None:
        text = json.dumps(json.loads(text), indent=1, ensure_ascii=False)
    name = "Row" if result.row is not None else "Record"
    return f"<details><summary>{name}</summary><pre>{escape(text)}</pre></details>"


def _footer(results: Sequence[CaseResult]) -> str:
    row = next((result.row for result in results if result.row is not None), None)
    if row is None:
        return ""
    provenance = row.MODEL_ATTRIBUTES.PROVENANCE
    models = ", ".join(
        f"{name} {model.get('name', '')} on {model.get('device', '')}"
        for name, model in sorted((provenance.get("models") or {}).items())
    )
    policy = (provenance.get("policy") or {}).get("version", "")
    parts = (
        f"streamapp {provenance.get('streamapp', '')}",
        models,
        f"policy {policy}",
        "Photographs: public domain or CC0",
    )
    return escape(". ".join(part for part in parts if part) + ".")
