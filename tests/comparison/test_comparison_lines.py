"""Lines of untrusted files become rows, or are named with the reason."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from comparison.rows_to_compare import row, write
from old_rows import OLD_ROW

from streamapp.comparison.fields import Facts
from streamapp.comparison.lines import LONGEST_LINE_BYTES, BadLine, read_rows
from streamapp.errors import StreamappError


def read(path: Path) -> list[Facts | BadLine]:
    return list(read_rows(path))


def as_csv_client(made: dict[str, Any]) -> dict[str, Any]:
    """The row as a warehouse's client gives a VARIANT: as text."""
    return made | {"MODEL_ATTRIBUTES": json.dumps(made["MODEL_ATTRIBUTES"])}


@pytest.mark.parametrize(
    "line",
    [json.dumps(OLD_ROW), repr(OLD_ROW), f"  {OLD_ROW!r}\r", json.dumps(as_csv_client(row()))],
    ids=["JSON", "Python dict", "with blanks around", "attributes as text"],
)
def test_json_and_python_dicts_are_the_same_row(line: str, tmp_path: Path) -> None:
    (facts,) = read(write(tmp_path / "rows", [line]))

    assert isinstance(facts, Facts)
    assert (facts.uid, facts.url) == (OLD_ROW["UID"], OLD_ROW["IMAGE_URL"])
    assert facts.value("TO_BE_MODERATED") is False
    assert facts.value("NN_STATUS") == 0
    assert facts.scores("NN_UNSAFE_SCORES") == (0.0873,)
    assert facts.value("PREDICTED_TOP3_SECONDARY_CATEGORY") == ("selfie", "fashion", "make-up")
    assert facts.value("COOP_DURATION") == 0.91


def test_python_text_that_is_more_than_literals_is_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    lines = [f"__import__('pathlib').Path({str(mark)!r}).touch()", "{'UID': open('/etc/passwd')}"]
    found = read(write(tmp_path / "rows", lines))

    assert [str(bad) for bad in found] == [f"line {n} is neither JSON nor a Python dict" for n in (1, 2)]
    assert not mark.exists()


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("nonsense", "is neither JSON nor a Python dict"),
        ("[1, 2]", "holds no object, but list"),
        ('{"UID": 1}', "has no IMAGE_URL"),
        ('{"IMAGE_URL": ""}', "has no UID"),
        ('{"UID": 1, "IMAGE_URL": ""}', "has no MODEL_ATTRIBUTES"),
        ('{"UID": 1, "IMAGE_URL": "", "MODEL_ATTRIBUTES": "{"}', "has MODEL_ATTRIBUTES that are no JSON"),
        (row(NN_STATUS="0"), "has NN_STATUS '0', which is no status"),
        (row(NN_STATUS=True), "has NN_STATUS True, which is no status"),
        (row(TO_BE_MODERATED="yes"), "has TO_BE_MODERATED 'yes', which is no flag"),
        (row(NN_UNSAFE_SCORES="0.1, high"), "has NN_UNSAFE_SCORES '0.1, high', which are no scores"),
        (row(NN_UNSAFE_SCORES="nan"), "has NN_UNSAFE_SCORES 'nan', which are no finite scores"),
        (row(TOTAL_DURATION=float("inf")), "has TOTAL_DURATION inf, which is no seconds"),
        (
            '{"UID": 1, "IMAGE_URL": "", "MODEL_ATTRIBUTES": {}, "TOTAL_DURATION": 1' + "0" * 400 + "}",
            "has a value beyond all bounds",
        ),
        (
            "{'UID': 0x" + "f" * 5000 + ", 'IMAGE_URL': '', 'MODEL_ATTRIBUTES': {}}",
            "has a value beyond all bounds",
        ),
        (
            "{'UID': 1, 'IMAGE_URL': '', 'MODEL_ATTRIBUTES': {'NN_STATUS': -0x" + "f" * 5000 + "}}",
            "has a value beyond all bounds",
        ),
        ("[" * 100_000, "is neither JSON nor a Python dict"),
        ("-" * 100_000 + "1", "is neither JSON nor a Python dict"),
        ("{'a': '\\d'", "is neither JSON nor a Python dict"),
        ("\x00", "is neither JSON nor a Python dict"),
    ],
)
def test_a_bad_line_is_named_with_the_reason_and_costs_its_neighbours_nothing(
    line: object, why: str, tmp_path: Path
) -> None:
    before, bad, after = read(write(tmp_path / "rows", [OLD_ROW, line, OLD_ROW]))

    assert bad == BadLine(2, why)
    assert before == after
    assert isinstance(after, Facts)


def test_bytes_that_are_no_utf_8_are_a_bad_line(tmp_path: Path) -> None:
    (tmp_path / "rows").write_bytes(b"\xff\xfe{}\n" + repr(OLD_ROW).encode())
    bad, good = read(tmp_path / "rows")

    assert bad == BadLine(1, "is neither JSON nor a Python dict")
    assert isinstance(good, Facts)


def test_a_line_that_is_too_long_is_left_out_and_never_held_as_a_whole(tmp_path: Path) -> None:
    long = json.dumps(row(USERNAME="x" * 3 * LONGEST_LINE_BYTES))
    path = write(tmp_path / "rows", [OLD_ROW, long, OLD_ROW])
    assert read(path)[1] == BadLine(2, "is longer than 1024 KiB")
    assert [type(found) for found in read(path)] == [Facts, BadLine, Facts]


@pytest.mark.parametrize("end", ["", "\n"])
def test_a_line_of_just_the_longest_length_is_a_row(end: str, tmp_path: Path) -> None:
    line = json.dumps(row(USERNAME="")) + end
    path = tmp_path / "rows"
    path.write_text(" " * (LONGEST_LINE_BYTES - len(line)) + line + json.dumps(OLD_ROW) * bool(end))

    assert [type(found) for found in read(path)] == [Facts] * (2 if end else 1)


def test_empty_lines_are_passed_over_and_counted_as_lines(tmp_path: Path) -> None:
    found = read(write(tmp_path / "rows", ["", OLD_ROW, "  ", "x"]))

    assert [type(one) for one in found] == [Facts, BadLine]
    assert found[1] == BadLine(4, "is neither JSON nor a Python dict")


def test_a_gzipped_file_is_read_whatever_its_name(tmp_path: Path) -> None:
    (tmp_path / "rows").write_bytes(gzip.compress(json.dumps(OLD_ROW).encode()))

    assert [type(found) for found in read(tmp_path / "rows")] == [Facts]


def test_a_gzipped_file_that_is_cut_off_says_where(tmp_path: Path) -> None:
    packed = gzip.compress("".join(f"{OLD_ROW!r}\n" for _ in range(3)).encode())
    (tmp_path / "rows").write_bytes(packed[:-9])

    with pytest.raises(StreamappError, match=r"rows can't be read after line \d: "):
        read(tmp_path / "rows")
