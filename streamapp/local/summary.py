"""The demo's results in words: a verdict for each event, the table, and the line below it."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from rich import box
from rich.markup import escape
from rich.table import Table

from streamapp.local.demo_cases import DemoCase, differences
from streamapp.local.outcomes import Outcome
from streamapp.reasons import Reason, Status
from streamapp.records import ResultRow

PASSED, FLAGGED, FAIL_CLOSED = "passed", "flagged", "fail closed"
DEAD_LETTER, NO_RECORD = "dead letter", "no record"
_WORDS = {
    PASSED: "passed",
    FLAGGED: "flagged",
    FAIL_CLOSED: "failed closed",
    DEAD_LETTER: "as dead letters",
    NO_RECORD: "without a record",
}
_COLOURS = {PASSED: "green", FLAGGED: "red", FAIL_CLOSED: "yellow", DEAD_LETTER: "magenta", NO_RECORD: "dim"}


@dataclass(frozen=True, slots=True)
class CaseResult:
    """One event of the demo with what came of it.

    Attributes:
        outcome: None: no record came.
        is_committed: the consumer group has committed past the event.
    """

    case: DemoCase
    outcome: Outcome | None
    is_committed: bool = True

    @property
    def differences(self) -> list[str]:
        """What is not as expected; empty where all is well."""
        found = differences(self.case.expected, self.outcome)
        return found if self.is_committed else [*found, "The worker has not committed past the event."]

    @property
    def row(self) -> ResultRow | None:
        return None if self.outcome is None else self.outcome.row

    @property
    def verdict(self) -> str:
        """One of the five words; only ``flagged`` says something about the picture itself."""
        if self.outcome is None:
            return NO_RECORD
        if self.row is None:
            return DEAD_LETTER
        if not self.row.TO_BE_MODERATED:
            return PASSED
        return FAIL_CLOSED if self.reason is not None else FLAGGED

    @property
    def reason(self) -> str | None:
        """The code from the closed list, of a row or a dead letter."""
        if self.row is not None:
            reason = self.row.MODEL_ATTRIBUTES.PROVENANCE.get("reason")
            return None if reason is None else str(reason)
        return None if self.outcome is None else self.outcome.dead_letter


def results_table(results: Sequence[CaseResult]) -> Table:
    """One line for each event: picture, verdict, highest unsafe score, category, status, seconds."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for column in ("", "picture", "verdict", "unsafe", "category", "status", "reason", "seconds"):
        is_number = column in ("status", "seconds")
        table.add_column(column, no_wrap=True, justify="right" if is_number else "left")
    for result in results:
        table.add_row(*_cells(result))
    return table


def _cells(result: CaseResult) -> list[str]:
    mark = "[red]✗[/]" if result.differences else "[green]✓[/]"
    colour = _COLOURS[result.verdict]
    cells = [mark, escape(result.case.title), f"[{colour}]{result.verdict}[/]"]
    if result.row is None:
        return [*cells, "", "", "", escape(result.reason or ""), ""]
    attributes = result.row.MODEL_ATTRIBUTES
    statuses = " ".join(str(status) for status in dict.fromkeys(attributes.statuses().values()))
    return [
        *cells,
        escape(max(attributes.NN_UNSAFE_SCORES.split(", "))),
        escape(result.row.PREDICTED_PRIMARY_CATEGORY.split(", ")[0]),
        statuses if statuses == str(Status.PREDICTED.value) else f"[yellow]{statuses}[/]",
        escape(result.reason or ""),
        f"{result.row.TOTAL_DURATION:.3f}",
    ]


def sentence(reason: str | None) -> str:
    """A row's reason in words; the code itself where it is none of the list."""
    try:
        return Reason(reason).sentence if reason is not None else ""
    except ValueError:
        return str(reason)


def summary_line(results: Sequence[CaseResult], total_s: float, repeats: int) -> str:
    """How many of each verdict, and how quick.

    Args:
        results: every event of the run.
        total_s: seconds from the first event sent until all is committed.
        repeats: outcomes that came more than once; Kafka's at-least-once allows it, a calm run has none.
    """
    counts = [
        (sum(result.verdict == verdict for result in results), words) for verdict, words in _WORDS.items()
    ]
    text = f"{len(results)} events in {total_s:.1f} s: "
    text += ", ".join(f"{count} {words}" for count, words in counts if count)
    seconds = [result.row.TOTAL_DURATION for result in results if result.row is not None]
    if seconds:
        text += f"; half of the rows within {median(seconds):.2f} s"
    return text + (f"; {repeats} repeated" if repeats else "")


def check_line(results: Sequence[CaseResult]) -> str:
    """Whether all is as expected."""
    wrong = sum(bool(result.differences) for result in results)
    return f"{wrong} not as expected." if wrong else "All as expected."
