"""What the HTML reports have in common."""

import re
from collections import Counter
from pathlib import Path

import pytest
from comparison.rows_to_compare import row, write
from html_page import Page

from streamapp import comparison
from streamapp.cards import covered, style, tabs
from streamapp.local import report

TEXTS = {"new": "newly flagged", "same": "same verdict"}


def test_a_tab_counts_the_cards_of_its_kind_and_hides_the_others() -> None:
    html = tabs(TEXTS, ["new", "same", "new"])
    choices = Page(html).of("input")

    assert [(choice["id"], "checked" in choice) for choice in choices] == [
        ("all", True),
        ("only-new", False),
        ("only-same", False),
    ]
    assert Counter(choice["name"] for choice in choices) == {"only": 3}
    assert re.findall(r">([\w ]+) <b class=\"\w*\">(\d)<", html) == [
        ("everything", "3"),
        ("newly flagged", "2"),
        ("same verdict", "1"),
    ]
    for kind in TEXTS:
        assert f"body:has(#only-{kind}:checked) .card:not(.is-{kind}) {{ display: none; }}" in style(TEXTS)


def test_each_covered_picture_has_a_checkbox_of_its_own() -> None:
    page = Page(covered(1, "<p>") + covered(2, "<p>"))

    assert [box["id"] for box in page.of("input")] == ["shown-1", "shown-2"]
    assert [label["for"] for label in page.of("label")] == ["shown-1", "shown-2"]


@pytest.mark.parametrize("name", ["demo", "comparison"])
def test_every_colour_that_a_page_names_is_one_that_it_sets(name: str, tmp_path: Path) -> None:
    path, rows = tmp_path / "report.html", write(tmp_path / "rows", [row()])
    if name == "demo":
        report.write_report(path, [], "no events")
    else:
        comparison.write_report(path, comparison.compare(comparison.match_files(rows, rows)))
    css = path.read_text("utf-8").split("</style>")[0]

    # A picture sets its ratio itself.
    assert set(re.findall(r"var\(--(\w+)\)", css)) - {"ratio"} <= set(re.findall(r"--(\w+): ", css))
