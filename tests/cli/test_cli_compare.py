"""`streamapp compare` as a process of its own."""

import json
from pathlib import Path

import pytest
from command_process import Command, Ended
from comparison.rows_to_compare import row, write


async def compare(folder: Path, *arguments: str) -> Ended:
    return await Command("compare", folder, {}).run("old.jsonl", "new.jsonl", *arguments)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four events, of which one is newly flagged; a bad line, and a row without a partner on either side."""
    old = [row(UID=uid) for uid in "1234"]
    new = [*old[:3], row(UID="4", TO_BE_MODERATED=True, NN_UNSAFE_SCORES="0.9000", NN_TO_BE_MODERATED=True)]
    write(tmp_path / "old.jsonl", [repr(one) for one in old] + ["\x1b[31mno row", row(UID="5")])
    write(tmp_path / "new.jsonl", [*new, row(UID="\x1b[2J6")])
    return tmp_path


async def test_it_says_what_was_compared_and_lists_the_disagreements(folder: Path) -> None:
    ended = await compare(folder)
    lines = ended.output.splitlines()

    assert (ended.exit_code, ended.errors) == (0, "")
    assert lines[:4] == [
        "old.jsonl: 5 rows; 1 of events that the other file does not have.",
        f"  only here: user 5, 2022-06-10 01:21:01, {row()['IMAGE_URL']}",
        "  1 line held no row:",
        "    line 5 is neither JSON nor a Python dict",
    ]
    assert [line.split()[1:] for line in lines if line.startswith("TO_BE_MODERATED  ")] == [
        ["0", "0", "1", "3", "0.000"],
        ["4", "1", "75.00%"],
    ]
    assert [line.split()[1:7] for line in lines if line.startswith("5e459c67de6fec5d.png")] == [
        ["4", "pass", "moderate", "0.0873", "→", "0.9000"]
    ]
    assert lines[-1] == (
        "4 events are in both files: TO_BE_MODERATED agrees on 75.00%, 1 differs in something."
    )
    assert max(len(line) for line in lines if "only here" not in line) <= 100
    assert "\x1b" not in ended.output


@pytest.mark.parametrize(("share", "exit_code"), [("0.75", 0), ("0.76", 1)])
async def test_too_little_agreement_is_an_exit_code_for_ci(folder: Path, share: str, exit_code: int) -> None:
    ended = await compare(folder, "--min-agreement", share)

    assert ended.exit_code == exit_code
    assert ("less than --min-agreement 0.76" in ended.errors) is (exit_code == 1)
    assert "4 events are in both files" in ended.output


async def test_the_list_is_as_long_as_asked_for_and_the_report_has_all(folder: Path) -> None:
    ended = await compare(folder, "--show", "0", "--output", "report.html")

    assert (ended.exit_code, ended.errors) == (0, "")
    assert "Not listed: 1." in ended.output
    assert ended.output.endswith("Report: report.html\n")
    assert (folder / "report.html").read_text("utf-8").count('<article class="card') == 1


async def test_what_can_not_be_done_is_one_line_on_stderr(folder: Path) -> None:
    unwritable = await compare(folder, "--output", "nowhere/report.html")
    (folder / "new.jsonl").write_text(json.dumps(row(UID="7")))
    apart = await compare(folder)

    assert (unwritable.exit_code, apart.exit_code) == (1, 1)
    assert unwritable.errors.startswith("streamapp: nowhere/report.html can't be written ")
    assert apart.errors.startswith("streamapp: No event is in both files.")
    assert unwritable.errors.count("\n") == apart.errors.count("\n") == 1


async def test_a_report_that_would_overwrite_a_compared_file_is_refused(folder: Path) -> None:
    before = (folder / "old.jsonl").read_bytes()
    ended = await compare(folder, "--output", "./old.jsonl")

    assert ended.exit_code == 2
    assert "is one of the files that are compared" in ended.errors
    assert (folder / "old.jsonl").read_bytes() == before


async def test_long_texts_of_users_do_not_flood_the_terminal(folder: Path) -> None:
    lines = (folder / "old.jsonl").read_text()
    (folder / "old.jsonl").write_text(lines + json.dumps(row(IMAGE_URL="https://a/" + "x" * 500_000)))

    assert len((await compare(folder)).output) < 5000


async def test_pictures_without_a_report_are_refused(folder: Path) -> None:
    ended = await compare(folder, "--pictures", ".")

    assert ended.exit_code == 2
    assert "--pictures is for the report: give --output, too." in ended.errors
