"""The report: self-contained, and deaf to what a row tries to say to the browser."""

import base64
import io
import re
from pathlib import Path
from typing import Any

from html_page import Page
from PIL import Image
from rows import dead_letter, row_outcome

from streamapp.local.demo_cases import DemoCase, ExpectedNothing, ExpectedRow
from streamapp.local.demo_pictures import animated_gif, rotated_jpeg
from streamapp.local.outcomes import Outcome
from streamapp.local.report import write_report
from streamapp.local.summary import CaseResult

HOSTILE = "<script>alert(1)</script><img src=http://evil.example/x onerror=alert(1)>\"'&"


def report_of(tmp_path: Path, *results: CaseResult) -> str:
    write_report(tmp_path / "report.html", results, "1 event")
    return (tmp_path / "report.html").read_text(encoding="utf-8")


def result(outcome: Outcome | None, content: bytes | None = None, title: str = "a picture") -> CaseResult:
    return CaseResult(DemoCase(title, "a.png", ExpectedRow(), content, user_id="7"), outcome)


def png(size_px: tuple[int, int] = (8, 8)) -> bytes:
    out = io.BytesIO()
    Image.new("RGBA", size_px, "teal").save(out, "PNG")
    return out.getvalue()


def detections(**changes: Any) -> dict[str, Any]:
    return {"nudenet": [[{"label": "FACE_FEMALE", "score": 0.8123, "box": [2, 4, 4, 2], **changes}]]}


def test_nothing_is_loaded_from_anywhere(tmp_path: Path) -> None:
    page = Page(
        report_of(tmp_path, result(row_outcome(), png()), result(None), result(dead_letter("not_json")))
    )
    assert all((image["src"] or "").startswith("data:image/jpeg;base64,") for image in page.of("img"))
    assert not [tag for tag, _ in page.tags if tag in {"script", "link", "iframe", "object", "form"}]
    for _, attributes in page.tags:
        assert not any(name.startswith("on") or name in {"href", "srcset"} for name in attributes)
    styles = re.findall(r"url\(|@import|http", (tmp_path / "report.html").read_text().split("</style>")[0])
    assert styles == ["http"]  # of http-equiv
    policy = next(meta["content"] for meta in page.of("meta") if "http-equiv" in meta)
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def test_hostile_texts_stay_text(tmp_path: Path) -> None:
    row = row_outcome(
        UID=HOSTILE,
        USERNAME=HOSTILE,
        NN_UNSAFE_SCORES=HOSTILE,
        reason=HOSTILE,
        models={HOSTILE: {"name": HOSTILE, "device": HOSTILE}},
        policy={"version": HOSTILE},
        stages={HOSTILE: 1.0},
        content={"media_type": HOSTILE, "bytes": 1, "width_px": 8, "height_px": 8},
    )
    boxes = row_outcome(detections=detections(label=HOSTILE))
    letter = dead_letter(HOSTILE, value=HOSTILE.encode(), message=HOSTILE)
    page = Page(
        report_of(tmp_path, result(row, title=HOSTILE), result(boxes, png(), title=HOSTILE), result(letter))
    )
    assert not page.of("script")
    assert len(page.of("img")) == 1
    assert all("onerror" not in attributes for _, attributes in page.tags)


def test_a_dollar_sign_in_a_row_is_no_placeholder(tmp_path: Path) -> None:
    assert "$summary ${cards}" in report_of(tmp_path, result(row_outcome(USERNAME="$summary ${cards}")))


def test_a_flagged_picture_is_blurred_until_its_checkbox_is_ticked(tmp_path: Path) -> None:
    page = Page(report_of(tmp_path, result(row_outcome(TO_BE_MODERATED=True), png())))
    (box,) = [box for box in page.of("input") if box["type"] == "checkbox"]
    assert "checked" not in box
    assert any(label["for"] == box["id"] for label in page.of("label"))
    assert any("blurred" in (div.get("class") or "").split() for div in page.of("div"))


def test_a_picture_that_passed_is_not_blurred(tmp_path: Path) -> None:
    page = Page(report_of(tmp_path, result(row_outcome(), png())))
    assert not any("blurred" in (div.get("class") or "").split() for div in page.of("div"))


def test_every_picture_has_an_alternative_text(tmp_path: Path) -> None:
    page = Page(report_of(tmp_path, result(row_outcome(), png(), title='cat "Tom"')))
    assert [image["alt"] for image in page.of("img")] == ['cat "Tom", passed']


def test_a_detection_is_drawn_in_per_cent_of_the_picture(tmp_path: Path) -> None:
    html = report_of(tmp_path, result(row_outcome(detections=detections()), png()))
    assert "left:25.00%;top:50.00%;width:50.00%;height:25.00%" in html
    assert "face female 0.81" in html


def test_each_key_frame_of_an_animation_is_shown_with_its_time(tmp_path: Path) -> None:
    frames = [{"index": 0, "time_s": 0.0}, {"index": 2, "time_s": 1.0}]
    html = report_of(tmp_path, result(row_outcome(frames=frames), animated_gif()))
    sources = [image["src"] for image in Page(html).of("img")]
    assert len(set(sources)) == 2
    assert "1.0 s</span>" in html


def test_a_rotated_picture_is_shown_upright(tmp_path: Path) -> None:
    content, (width, height) = rotated_jpeg()
    size = {"media_type": "image/jpeg", "bytes": 1, "width_px": width, "height_px": height}
    html = report_of(tmp_path, result(row_outcome(content=size), content))
    assert f"--ratio: {width} / {height}" in html
    (source,) = [image["src"] or "" for image in Page(html).of("img")]
    with Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))) as shown:
        assert shown.width > shown.height


def test_a_row_without_a_picture_says_why_in_words(tmp_path: Path) -> None:
    row = row_outcome(reason="not_found", NN_STATUS=403, TO_BE_MODERATED=True)
    html = report_of(tmp_path, result(row, b"no picture"))
    assert "STATUS 403" in html
    assert "The server has no such file." in html


def test_an_unexpected_outcome_is_told_in_its_card(tmp_path: Path) -> None:
    case = CaseResult(DemoCase("removed", "", ExpectedNothing()), row_outcome())
    html = report_of(tmp_path, case)
    assert "A record came of it and none was expected." in html
    assert "1 not as expected." in html
