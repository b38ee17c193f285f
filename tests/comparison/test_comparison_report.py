"""The report shows the disagreements' pictures, and trusts nothing that comes from rows."""

import re
from pathlib import Path
from typing import Any

import pytest
from comparison.rows_to_compare import row, write
from html_page import Page

from streamapp.comparison import compare, match_files, write_report
from streamapp.comparison.report import MOST_CARDS, picture_url

HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>"


def report_of(folder: Path, *changes: dict[str, Any], pictures: Path | None = None) -> str:
    """The report on events that are newly flagged, with these values on both sides."""
    old = [row(**{"UID": str(n)} | change) for n, change in enumerate(changes)]
    new = [row(**{"UID": str(n)} | change, TO_BE_MODERATED=True) for n, change in enumerate(changes)]
    comparison = compare(match_files(write(folder / "old", old), write(folder / "new", new)))
    write_report(folder / "report.html", comparison, pictures)
    return (folder / "report.html").read_text("utf-8")


def test_a_picture_is_shown_by_its_url_without_a_referrer_and_when_it_comes_into_view(tmp_path: Path) -> None:
    (image,) = Page(report_of(tmp_path, {"IMAGE_URL": "https://cdn.example.com/a.png?x=1&y=2"})).of("img")

    assert image == {
        "src": "https://cdn.example.com/a.png?x=1&y=2",
        "alt": "",
        "loading": "lazy",
        "referrerpolicy": "no-referrer",
    }


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "ftp://a/b",
        "a.png",
        "http:",
        "http://[",
    ],
)
def test_only_http_and_https_urls_are_shown(url: str, tmp_path: Path) -> None:
    html = report_of(tmp_path, {"IMAGE_URL": url})

    assert Page(html).of("img") == []
    assert "No http or https URL, and no copy of it." in html


@pytest.mark.parametrize("name", ["UID", "IMAGE_URL", "EVENT_TIME"])
def test_what_comes_from_rows_is_text(name: str, tmp_path: Path) -> None:
    safe = {tag for tag, _ in Page(report_of(tmp_path, {})).tags}
    page = Page(report_of(tmp_path, {name: f"https://a/{HOSTILE}"}))

    assert {tag for tag, _ in page.tags} <= safe
    assert not [attributes for _, attributes in page.tags if "onerror" in attributes]


@pytest.mark.parametrize("name", ["UID", "IMAGE_URL"])
def test_half_a_surrogate_pair_costs_no_report(name: str, tmp_path: Path) -> None:
    assert "https://a/?" in report_of(tmp_path, {name: "https://a/\ud800"})


def test_long_texts_are_cut_and_a_pictures_url_is_not(tmp_path: Path) -> None:
    url, scores = f"https://a/{'x' * 5000}", ", ".join(["0.1000"] * 5000)
    html = report_of(tmp_path, {"UID": "y" * 5000, "IMAGE_URL": url, "NN_UNSAFE_SCORES": scores})

    assert [image["src"] for image in Page(html).of("img")] == [url]
    assert not re.findall("x{301}|y{301}|(?:0.1000, ){40}", html.replace(url, ""))


def test_categories_are_text_too(tmp_path: Path) -> None:
    old, new = row(PREDICTED_PRIMARY_CATEGORY=HOSTILE), row()
    comparison = compare(match_files(write(tmp_path / "old", [old]), write(tmp_path / "new", [new])))
    write_report(tmp_path / "report.html", comparison)

    assert "<script" not in (tmp_path / "report.html").read_text("utf-8")


def test_the_page_runs_no_script_and_loads_nothing_but_pictures(tmp_path: Path) -> None:
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', report_of(tmp_path, {}))

    assert policy == "default-src 'none'; img-src http: https: file:; style-src 'unsafe-inline'"


@pytest.mark.parametrize(
    ("url", "copy"),
    [
        ("https://cdn.example.com/a/b.png", "cdn.example.com/a/b.png"),
        ("http://127.0.0.1:8000/b%20c.png", "127.0.0.1:8000/b c.png"),
        ("https://cdn.example.com/a.png?x=1&y=2", "cdn.example.com/a.png"),
        ("https://cdn.example.com/a.png?x=1&y=2", "cdn.example.com/a.png?x=1&y=2"),
        ("pictures/a.png", "pictures/a.png"),
    ],
)
def test_a_copy_is_shown_instead_of_the_url(url: str, copy: str, tmp_path: Path) -> None:
    file = tmp_path / copy
    file.parent.mkdir(parents=True)
    file.touch()

    assert picture_url(url, tmp_path) == file.as_uri()


def test_without_a_copy_the_url_is_shown(tmp_path: Path) -> None:
    assert picture_url("https://cdn.example.com/a.png", tmp_path) == "https://cdn.example.com/a.png"


@pytest.mark.parametrize(
    "url",
    [
        "../outside.png",
        "%2e%2e/outside.png",
        "x/../../outside.png",
        "/etc/passwd",
        "file:///etc/passwd",
        "link.png",
        "http://../outside.png",
        "a\0b",
    ],
)
def test_no_url_leads_out_of_the_folder(url: str, tmp_path: Path) -> None:
    (tmp_path / "outside.png").touch()
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "link.png").symlink_to(tmp_path / "outside.png")

    assert picture_url(url, folder) in (None, url if url.startswith("http") else None)


def test_the_first_disagreements_get_a_card_and_the_rest_a_sentence(tmp_path: Path) -> None:
    html = report_of(tmp_path, *({} for _ in range(MOST_CARDS + 3)))

    assert html.count('<article class="card') == MOST_CARDS
    assert "3 more disagreements are not shown." in html
