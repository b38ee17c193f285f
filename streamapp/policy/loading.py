"""From a policy file to a `Policy`. Whatever is wrong with a file is told with file, line and reason."""

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from streamapp.errors import SettingsError
from streamapp.policy.document import PolicyDocument
from streamapp.policy.taxonomy import PATTERNS
from streamapp.policy.values import Policy

DEFAULT_FILE = Path(__file__).with_name("default.yaml")
MAX_BYTES = 4 * 2**20

Location = tuple[str | int, ...]

# Pydantic's error types, in YAML's words.
_OWN_WORDS = {
    "dict_type": "must be a mapping",
    "extra_forbidden": "no such key",
    "mapping_type": "must be a mapping",
    "missing": "is missing",
    "model_attributes_type": "must be a mapping",
    "model_type": "must be a mapping",
    "string_type": "must be a text",
    "too_short": "must not be empty",
    "tuple_type": "must be a list",
}


class _Problems(Exception):
    """What is wrong with a file: (line, sentence) pairs."""

    def __init__(self, *problems: tuple[int, str]) -> None:
        super().__init__(problems)
        self.problems = problems


def load_policy(path: Path | None = None) -> Policy:
    """Read a policy file.

    1. Read the text. 2. Parse it, noting each value's line. 3. Check it against the shape.

    Args:
        path: None: the policy in the package.

    Raises:
        SettingsError: the file can't be read or used; names the file and every line that is wrong.
    """
    file = DEFAULT_FILE if path is None else path
    try:
        # 1.
        text = _read(file)
        # 2.
        lines: dict[Location, int] = {}
        content = _parse(text, lines)
        # 3.
        return _validate(content, lines).policy()
    except _Problems as exc:
        problems = [f"{file}:{line}: {sentence}" for line, sentence in sorted(set(exc.problems))]
        raise SettingsError(_as_message(problems)) from exc


def _read(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_BYTES + 1)
    except OSError as exc:
        raise SettingsError(f"{file} can't be read as the policy: {exc.strerror or exc}.") from exc
    if len(content) > MAX_BYTES:
        raise SettingsError(f"{file} has more than {MAX_BYTES} bytes, which no policy has.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = content.count(b"\n", 0, exc.start) + 1
        raise _Problems((line, "is not UTF-8")) from exc


def _parse(text: str, lines: dict[Location, int]) -> Any:
    """Parse YAML into dicts, lists and texts; every scalar stays a text, for the shape knows its type.

    So `2026-11-22` is no date and `off` no boolean.

    Args:
        lines: filled: each value's location → its line, counted from 1.
    """
    try:
        root = yaml.compose(text, Loader=yaml.BaseLoader)
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        reason = getattr(exc, "problem", None) or getattr(exc, "reason", None) or "can't be parsed"
        raise _Problems((mark.line + 1 if mark else 1, f"no valid YAML: {reason}")) from exc
    except RecursionError as exc:
        raise _Problems((1, "no valid YAML: nested too deeply")) from exc
    if root is None:
        raise _Problems((1, "the file is empty"))
    return _plain(root, (), lines, set())


def _plain(node: yaml.Node, location: Location, lines: dict[Location, int], seen: set[int]) -> Any:
    line = lines.setdefault(location, node.start_mark.line + 1)
    if id(node) in seen:
        # Few aliases can stand for more data than fits in memory, or for data that contains itself.
        raise _Problems((line, f"{_dotted(location)} is a YAML alias; write the value out"))
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        return _plain_mapping(node, location, lines, seen)
    if isinstance(node, yaml.SequenceNode):
        return [_plain(one, (*location, index), lines, seen) for index, one in enumerate(node.value)]
    return node.value


def _plain_mapping(
    node: yaml.MappingNode, location: Location, lines: dict[Location, int], seen: set[int]
) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise _Problems((line, "a key must be a text"))
        if key.value in content:
            first = lines[(*location, key.value)]
            raise _Problems((line, f"{_dotted((*location, key.value))} is there already, in line {first}"))
        lines[(*location, key.value)] = line
        content[key.value] = _plain(value, (*location, key.value), lines, seen)
    return content


def _validate(content: Any, lines: dict[Location, int]) -> PolicyDocument:
    try:
        return PolicyDocument.model_validate(content)
    except ValidationError as exc:
        details = exc.errors(include_url=False)
        raise _Problems(*(_problem(one, lines) for one in details)) from exc


def _problem(details: ErrorDetails, lines: dict[Location, int]) -> tuple[int, str]:
    """The line of what is wrong; of the nearest thing around it where it is missing."""
    # Pydantic marks a mapping's bad key by a last element of its own.
    location = tuple(part for part in details["loc"] if part != "[key]")
    around = location
    while around not in lines:
        around = around[:-1]
    return lines[around], f"{_dotted(location)}: {_sentence(details)}"


def _sentence(details: ErrorDetails) -> str:
    """Pydantic's message, in this program's words where that is easy."""
    kind = details["type"]
    if kind in _OWN_WORDS:
        return _OWN_WORDS[kind]
    if kind in ("taxonomy", "value_error"):
        return details["msg"].removeprefix("Value error, ")
    if kind == "string_pattern_mismatch":
        message = PATTERNS[details["ctx"]["pattern"]]
    else:
        message = details["msg"].replace("Input should", "must", 1)
        message = message[:1].lower() + message[1:]
    found = details["input"]
    return f"{message}; found {found!r}" if isinstance(found, str) else message


def _dotted(location: Location) -> str:
    """``taxonomy.classes[3].primary``"""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return text.removeprefix(".") or "the file"


def _as_message(problems: list[str]) -> str:
    if len(problems) == 1:
        return problems[0]
    return "\n  ".join([f"{len(problems)} problems in the policy:", *problems])
