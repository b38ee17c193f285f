"""What a PromQL expression asks for: metrics and labels; enough of the language for our own expressions."""

import re
from dataclasses import dataclass

FUNCTIONS = {
    "absent",
    "changes",
    "histogram_quantile",
    "increase",
    "max",
    "min",
    "rate",
    "sum",
    "time",
}
_WORDS = {"and", "bool", "offset", "or", "unless"}
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_SELECTOR = re.compile(r'([a-zA-Z_:][\w:]*)\s*\{((?:"(?:[^"\\]|\\.)*"|[^}"])*)\}')
_RANGE = re.compile(r"\[[^\]]*\]")
_NUMBER = re.compile(r"\b\d[\w.]*\b")
_NAME = re.compile(r"([a-zA-Z_:][\w:]*)(\s*\()?")


@dataclass(frozen=True)
class Demand:
    """What an expression asks for.

    Attributes:
        metrics: names as they stand there, with ``_bucket`` and the like.
        matched: metric → the labels that its selectors look at.
        values: (label, value) that selectors want; those of the dashboard's variables left out.
        grouped: labels of ``by`` and the like.
    """

    metrics: frozenset[str]
    matched: dict[str, frozenset[str]]
    values: frozenset[tuple[str, str]]
    grouped: frozenset[str]


def demand_of(expression: str) -> Demand:
    """Read an expression.

    Raises:
        ValueError: it has a function that is not in FUNCTIONS.
    """
    grouped = {name.strip() for names in _GROUPING.findall(expression) for name in names.split(",")}
    rest = _GROUPING.sub(" ", _RANGE.sub(" ", expression))
    matched: dict[str, frozenset[str]] = {}
    values = set()
    for metric, matchers in _SELECTOR.findall(rest):
        labels = frozenset(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", _STRING.sub('""', matchers)))
        matched[metric] = matched.get(metric, frozenset()) | labels
        for label, texts in re.findall(r'(\w+)\s*=~?\s*"([^"$]*)"', matchers):
            values |= {(label, text) for text in texts.split("|")}
    metrics = set()
    for name, call in _NAME.findall(_NUMBER.sub(" ", _STRING.sub(" ", _SELECTOR.sub(r" \1 ", rest)))):
        if call and name not in _WORDS:
            if name not in FUNCTIONS:
                raise ValueError(f"{name} is not a function that is known here: {expression}")
        elif name not in _WORDS:
            metrics.add(name)
    return Demand(frozenset(metrics), matched, frozenset(values), frozenset(grouped - {""}))
