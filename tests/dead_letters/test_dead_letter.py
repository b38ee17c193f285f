"""Reading a dead letter from its record."""

from types import SimpleNamespace
from typing import Any

import pytest

from streamapp.dead_letters.letter import read_dead_letter, replays_of
from streamapp.errors import DeadLetterReason
from streamapp.records import Headers, SourcePosition, dead_letter_headers

SOURCE = SourcePosition("modify_user", 3, 41210)
WHY = dead_letter_headers(SOURCE, DeadLetterReason.NOT_JSON, "The value is not JSON.")


def record(headers: Headers, value: bytes | None = b"{") -> Any:
    return SimpleNamespace(
        topic="dead",
        partition=1,
        offset=7,
        timestamp=1_795_345_200_123,
        key=b"k",
        value=value,
        headers=headers,
    )


def test_a_dead_letter_tells_why_whence_and_when() -> None:
    letter = read_dead_letter(record([("trace", b"1"), *WHY]))

    assert letter is not None
    assert (letter.reason, letter.message) == ("not_json", "The value is not JSON.")
    assert (letter.position, letter.source) == (SourcePosition("dead", 1, 7), SOURCE)
    assert (letter.key, letter.value, letter.headers) == (b"k", b"{", [("trace", b"1")])
    assert (letter.replays, letter.lacks, letter.place) == (0, None, "1:7")
    assert letter.published_at.isoformat() == "2026-11-22T11:00:00.123000+00:00"


def test_headers_of_a_record_that_pretend_to_be_ours_are_not_believed() -> None:
    pretended: Headers = [
        ("streamapp.reason", b"\x1b[2J"),
        ("streamapp.value", b"left out: too large"),
        ("streamapp.source.topic", b"elsewhere"),
    ]
    letter = read_dead_letter(record([*pretended, ("trace", b"1"), *WHY]))

    assert letter is not None
    assert (letter.reason, letter.source, letter.lacks) == ("not_json", SOURCE, None)
    assert letter.headers == [("trace", b"1")]


def test_the_count_of_replays_comes_with_the_records_own_headers() -> None:
    letter = read_dead_letter(record([("streamapp.replays", b"2"), *WHY]))

    assert letter is not None
    assert (letter.replays, letter.headers) == (2, [])


@pytest.mark.parametrize("count", [b"", b"-1", b"two", b"1" * 5000, b"\xff"])
def test_a_count_that_is_none_is_0(count: bytes) -> None:
    assert replays_of([("streamapp.replays", count)]) == 0


@pytest.mark.parametrize(
    ("lacks", "is_left_out", "is_empty"), [(b"left out: too large", True, False), (b"null", False, True)]
)
def test_a_value_that_is_not_the_originals_is_told(lacks: bytes, is_left_out: bool, is_empty: bool) -> None:
    letter = read_dead_letter(record([*WHY, ("streamapp.value", lacks)], b""))

    assert letter is not None
    assert (letter.is_left_out, letter.had_neither_key_nor_value) == (is_left_out, is_empty)


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("trace", b"1")],
        WHY[:-1],
        [*WHY[:-1], ("streamapp.source.offset", b"first")],
        [("streamapp.reason", None)],
    ],
)
def test_a_record_of_someone_else_is_none(headers: Headers) -> None:
    assert read_dead_letter(record(headers)) is None
