"""Offsets as they are written on a command line."""

import pytest

from streamapp.offsets import PartitionOffsets, parse_offsets


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3:41210-41999", PartitionOffsets(3, 41210, 41999)),
        ("3:7-7", PartitionOffsets(3, 7, 7)),
        ("3:7", PartitionOffsets(3, 7, 7)),
        ("0:7-", PartitionOffsets(0, 7, None)),
    ],
)
def test_offsets_are_read(text: str, expected: PartitionOffsets) -> None:
    assert parse_offsets(text) == expected


@pytest.mark.parametrize(
    "text", ["", "3", "3:", "3:-7", "3:9-8", "-1:2-3", "3:1-2-3", "x:1-2", "3:1 2", "3:²"]
)
def test_what_is_no_range_of_offsets_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not like 3:41210-41300|ends before it begins"):
        parse_offsets(text)
