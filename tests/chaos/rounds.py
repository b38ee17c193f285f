"""One round of a case: load, fault, load, verdict."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from chaos.arena import Arena
from chaos.ledger import Fate, Ledger, figures
from chaos.load import Load, values

SETTLE_TIMEOUT_S = 120.0
VIOLATIONS_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Round:
    """What one round came to.

    Attributes:
        line: the figures, for the report.
        fates: of the round's own events.
        failures: what did not hold.
    """

    line: dict[str, Any]
    fates: list[Fate]
    failures: list[str]


class Before:
    """Where the ledger stood when the round began: a round answers for its own events alone."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._seen = {partition: set(lane.fates) for partition, lane in ledger.lanes.items()}
        self._duplicates = figures(ledger.fates).duplicates
        self._violations = len(ledger.violations)
        self._samples = ledger.samples

    @property
    def fates(self) -> list[Fate]:
        """Of the events that came since."""
        lanes = self._ledger.lanes.items()
        return [
            fate
            for number, lane in lanes
            for offset, fate in lane.fates.items()
            if offset not in self._seen[number]
        ]

    @property
    def duplicates(self) -> int:
        """Those that came since, of earlier events too."""
        return figures(self._ledger.fates).duplicates - self._duplicates

    @property
    def samples(self) -> int:
        """How often the commits were looked at since."""
        return self._ledger.samples - self._samples

    @property
    def violations(self) -> list[str]:
        """Those found since."""
        return self._ledger.violations[self._violations :]


async def run_round(arena: Arena, fault: Callable[[Arena], Awaitable[None]], number: int) -> Round:
    """Load, fault, load, and judge when all is committed.

    1. Wait until outcomes flow. 2. Do it. 3. Go on for a second. 4. Wait until the group has committed all.
    """
    before = Before(arena.ledger)
    arena.notes, arena.failures = {}, []
    terms = arena.terms
    stream = values(arena.server.url_of, terms, seed=number)
    async with Load(arena.settings, stream, terms.rate_per_s) as arena.load:
        # 1.
        await arena.until_outcomes(int(terms.rate_per_s))
        # 2.
        await fault(arena)
        # 3.
        await arena.keep_loading(1.0)
    arena.load = None
    # 4.
    if not await arena.ledger.settle(SETTLE_TIMEOUT_S):
        arena.failures.append(f"Not all is committed after {SETTLE_TIMEOUT_S:.0f} s.\n{arena.fleet.logs()}")
    return _judged(arena, before, number)


def _judged(arena: Arena, before: Before, number: int) -> Round:
    fates, violations = before.fates, before.violations
    found = figures(fates)
    failures = [*arena.failures, *violations[:VIOLATIONS_SHOWN]]
    if found.lost:
        failures.append(f"{found.lost} of {found.events} events have no outcome")
    line = {
        "round": number,
        "events": found.events,
        "rows": found.rows,
        "dead_letters": found.dead_letters,
        "duplicates": before.duplicates,
        "lost": found.lost,
        "recovery_s": found.longest_wait_s,
        "commit_samples": before.samples,
        "commits_past_no_outcome": len(violations),
        **arena.notes,
    }
    return Round(line, fates, failures)
