"""The suite: every case, and the table that is published as docs/adversarial.md."""

from collections.abc import Sequence
from pathlib import Path

from adversarial import (
    address_cases,
    bomb_cases,
    picture_cases,
    redirect_cases,
    server_cases,
    url_cases,
    video_cases,
)
from adversarial.cases import Case

GROUPS: dict[str, Sequence[Case]] = {
    "URLs": url_cases.CASES,
    "Addresses": address_cases.CASES,
    "Redirects": redirect_cases.CASES,
    "Servers": server_cases.CASES,
    "Pictures": picture_cases.CASES,
    "Bombs": bomb_cases.CASES,
    "Videos": video_cases.CASES,
}

CASES: tuple[Case, ...] = tuple(case for cases in GROUPS.values() for case in cases)

PAGE = Path(__file__).parents[2] / "docs" / "adversarial.md"

_INTRODUCTION = """\
# What streamapp does with hostile URLs, servers and files

Each of these {count} cases is a test, run by `pytest tests/adversarial` against real servers on loopback,
with the worker's own rules and decoder processes. No case may connect to anything but its own servers,
whatever its outcome. STATUS and reason are those of the result row; STATUS 0 means that the picture goes to
the models. Written by `make docs`.
"""


def page() -> str:
    """The table as Markdown."""
    parts = [_INTRODUCTION.format(count=len(CASES))]
    for group, cases in GROUPS.items():
        lines = [f"## {group} ({len(cases)})", "", "| case | STATUS | reason |", "|---|---|---|"]
        lines.extend(_row(case) for case in cases)
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _row(case: Case) -> str:
    reason = f"`{case.reason}`" if case.reason else ""
    return f"| {case.name} | {case.status.value} | {reason} |"
