"""Where variables are read: the environment and the `.env` file, names without regard to case."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from dotenv.parser import parse_stream

PREFIX = "STREAMAPP_"
ENV_FILE_VARIABLE = "STREAMAPP_ENV_FILE"
ENVIRONMENT = "env"


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable, as it was written; ``repr`` leaves the value out, for it may be a secret."""

    name: str
    value: str

    def __repr__(self) -> str:
        return f"Variable({self.name})"


class Place:
    """The variables of one place.

    Attributes:
        label: ``env``, or the file's name.
        clashes: names that stand there in two spellings, with different values.
        broken_lines: (line number, text) of what could not be read as NAME=value.
    """

    def __init__(
        self, label: str, values: Mapping[str, str], broken_lines: tuple[tuple[int, str], ...] = ()
    ) -> None:
        self.label = label
        self.broken_lines = broken_lines
        self.clashes: list[tuple[str, str]] = []
        self._variables: dict[str, Variable] = {}
        for name, value in values.items():
            first = self._variables.setdefault(name.upper(), Variable(name, value))
            if first.value != value:
                self.clashes.append((first.name, name))

    def __iter__(self) -> Iterator[Variable]:
        return iter(self._variables.values())

    def get(self, name: str) -> Variable | None:
        """The variable of that name, in whatever case it was written."""
        return self._variables.get(name.upper())


def read_env_file(path: Path) -> Place:
    """Read a `.env` file with python-dotenv's parser; ``$`` stays as it is, nothing is interpolated.

    Raises:
        OSError: the file is missing or can't be opened.
        UnicodeDecodeError: it is not UTF-8.
    """
    values: dict[str, str] = {}
    broken: list[tuple[int, str]] = []
    for binding in parse_stream(StringIO(path.read_text(encoding="utf-8-sig"))):
        if binding.error:
            text = binding.original.string
            # The parser counts blank lines before a statement to the statement.
            blank_lines = text[: len(text) - len(text.lstrip())].count("\n")
            broken.append((binding.original.line + blank_lines, text.strip()))
        elif binding.key is not None:
            values[binding.key] = binding.value or ""
    return Place(path.name, values, tuple(broken))
