"""Plays a case's rounds and sums them up in one line."""

import statistics
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from chaos.arena import Broker, opened
from chaos.cases import Case
from chaos.rounds import Round, run_round

SUMMED = ("events", "rows", "dead_letters", "duplicates", "lost", "commit_samples", "commits_past_no_outcome")


async def play(
    case: Case,
    broker: Broker,
    folder: Path,
    *,
    rounds: int,
    variables: Mapping[str, str] | None = None,
    on_round: Callable[[Round], None] = lambda played: None,
) -> list[Round]:
    """Play rounds of a case with the same workers, those replaced that the case ends.

    Args:
        folder: for the workers' logs.
        variables: of the workers, beside the case's.
        on_round: called after each.
    """
    folder.mkdir(parents=True, exist_ok=True)
    played = []
    terms = replace(case.terms, variables={**case.terms.variables, **(variables or {})})
    async with opened(broker, folder, terms) as arena:
        for number in range(1, rounds + 1):
            one = await run_round(arena, case.fault, number)
            one.failures.extend(failure for check in case.checks for failure in check(one))
            played.append(one)
            on_round(one)
    return played


def summary(case: Case, played: list[Round]) -> dict[str, Any]:
    """The case's line for build/chaos.json."""
    lines = [one.line for one in played]
    clean = sum(line["duplicates"] == 0 for line in lines)
    failures = [f"Round {one.line['round']}: {failure}" for one in played for failure in one.failures]
    if clean < int(case.least_clean * len(lines)):
        failures.append(f"Only {clean} of {len(lines)} rounds had no duplicate")
    waits = [line["recovery_s"] for line in lines]
    result: dict[str, Any] = {"case": case.name, "title": case.title, "rounds": len(lines)}
    result |= {name: sum(line[name] for line in lines) for name in SUMMED}
    result |= {"rounds_without_duplicates": clean}
    result |= {"recovery_s": {"median": statistics.median(waits), "max": max(waits)}}
    resumed = [line["resumed_s"] for line in lines if "resumed_s" in line]
    if resumed:
        result["resumed_s"] = {"median": statistics.median(resumed), "max": max(resumed)}
    return result | {"failures": failures}
