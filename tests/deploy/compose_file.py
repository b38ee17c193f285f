"""docker-compose.yml as Docker Compose would read it: merged, with its variables put in."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text("utf-8")

_NAME = re.compile(r"[A-Za-z_]\w*")
_OPERATOR = re.compile(r":-|:\?|:\+|-|\?|\+|(?=\})")


class MissingVariableError(Exception):
    """A variable with ``?`` is not set."""


def load(variables: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The file's content where the shell and .env have these variables."""
    content = _filled(yaml.safe_load(TEXT), variables or {})
    assert isinstance(content, dict)
    return content


def interpolate(text: str, variables: Mapping[str, str]) -> str:
    """Replace ``$NAME``, ``${NAME}``, those with ``- :- + :+ ? :?``, nested too; ``$$`` is a dollar sign.

    Raises:
        MissingVariableError: one with ``?`` is not set.
        ValueError: this is no such text.
    """
    filled, rest = _until(text, variables, "")
    assert not rest
    return filled


def _until(text: str, variables: Mapping[str, str], end: str) -> tuple[str, str]:
    """Interpolate up to a character that stands in no braces of its own; returns that and what follows it."""
    parts, at = [], 0
    while at < len(text):
        if end and text[at] == end:
            return "".join(parts), text[at + 1 :]
        if text.startswith("$$", at):
            parts.append("$")
            at += 2
        elif text.startswith("${", at):
            value, rest = _braced(text[at + 2 :], variables)
            parts.append(value)
            at = len(text) - len(rest)
        elif text[at] == "$" and (found := _NAME.match(text, at + 1)):
            parts.append(variables.get(found[0], ""))
            at = found.end()
        else:
            parts.append(text[at])
            at += 1
    if end:
        raise ValueError(f"There is no {end} in {text!r}.")
    return "".join(parts), ""


def _braced(text: str, variables: Mapping[str, str]) -> tuple[str, str]:
    """What stands after ``${``: its value, and the text after its closing brace."""
    name = _NAME.match(text)
    operator = _OPERATOR.match(text, name.end()) if name else None
    if name is None or operator is None:
        raise ValueError(f"${{{text} names no variable.")
    operand, rest = _until(text[operator.end() :], variables, "}")
    value = variables.get(name[0])
    is_there = bool(value) if operator[0].startswith(":") else value is not None
    kind = operator[0].lstrip(":")
    if kind == "+":
        return (operand if is_there else ""), rest
    if kind == "?" and not is_there:
        raise MissingVariableError(f"{name[0]}: {operand}")
    return (value if is_there and value is not None else operand), rest


def _filled(node: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(node, dict):
        return {key: _filled(value, variables) for key, value in node.items()}
    if isinstance(node, list):
        return [_filled(value, variables) for value in node]
    return interpolate(node, variables) if isinstance(node, str) else node


def mounts(service: Mapping[str, Any]) -> dict[str, str]:
    """Path in the container → its source: a volume's name, or a path of the checkout."""
    pairs = (volume.split(":") for volume in service.get("volumes", []))
    return {pair[1]: pair[0] for pair in pairs}


def on_host(service: Mapping[str, Any], path: str) -> str:
    """A path in the container as a path of this checkout, where it is mounted from there; else as it is."""
    for target, source in mounts(service).items():
        if source.startswith("./") and (path == target or path.startswith(f"{target}/")):
            return str(ROOT / source) + path.removeprefix(target)
    return path
