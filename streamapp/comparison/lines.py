"""Reads files of rows line by line: JSON, or Python dicts as the old deployment printed them."""

import ast
import gzip
import json
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import IO, cast

import msgspec

from streamapp.comparison.fields import Facts, RowError, facts_of
from streamapp.errors import StreamappError

LONGEST_LINE_BYTES = 1024 * 1024
_GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that holds no row. It is left out; its neighbours are not."""

    number: int
    why: str

    def __str__(self) -> str:
        return f"line {self.number} {self.why}"


def read_rows(path: Path) -> Iterator[Facts | BadLine]:
    """Every line that is not empty, as a row or as a bad line; one line is in memory at a time.

    A file that begins as gzip does is unpacked on the way.

    Raises:
        StreamappError: the file can't be read to its end.
    """
    number = 0
    try:
        with path.open("rb") as file, _unpacked(file) as lines:
            for number, line in enumerate(_bounded_lines(lines), 1):
                if line is None:
                    yield BadLine(number, f"is longer than {LONGEST_LINE_BYTES // 1024} KiB")
                elif line.strip():
                    yield _read(number, line)
    except (OSError, EOFError, zlib.error) as exc:
        raise StreamappError(f"{path} can't be read after line {number}: {exc}.") from exc


def _unpacked(file: BufferedReader) -> IO[bytes]:
    is_packed = file.peek(len(_GZIP_MAGIC)).startswith(_GZIP_MAGIC)
    return cast(IO[bytes], gzip.GzipFile(fileobj=file)) if is_packed else file


def _bounded_lines(lines: IO[bytes]) -> Iterator[bytes | None]:
    """The lines; None for one that is too long, of which never more than the limit is held."""
    while line := lines.readline(LONGEST_LINE_BYTES):
        if line.endswith(b"\n"):
            yield line
            continue
        rest = lines.readline(LONGEST_LINE_BYTES)
        yield line if not rest else None
        while rest and not rest.endswith(b"\n"):
            rest = lines.readline(LONGEST_LINE_BYTES)


def _read(number: int, line: bytes) -> Facts | BadLine:
    for decode in (msgspec.json.decode, json.loads, _python_literal):
        try:
            row = decode(line)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            # literal_eval's parser has limits of its own, and says so by a MemoryError.
            continue
        try:
            return facts_of(row)
        except RowError as exc:
            return BadLine(number, str(exc))
        except (ValueError, OverflowError, RecursionError):
            # An integer of thousands of digits has no text and no float.
            return BadLine(number, "has a value beyond all bounds")
    return BadLine(number, "is neither JSON nor a Python dict")


def _python_literal(line: bytes) -> object:
    """A dict as Python prints it; literals alone, so that nothing in it is run."""
    with warnings.catch_warnings(action="ignore"):  # of escapes that Python does not know
        return ast.literal_eval(line.decode().strip())
