"""How a connector and its tasks are doing, as values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

RUNNING = "RUNNING"
FAILED = "FAILED"
_HELD = frozenset({"PAUSED", "STOPPED"})


@dataclass(frozen=True, slots=True)
class Part:
    """A connector itself, or one of its tasks.

    Attributes:
        state: Connect's word: RUNNING, FAILED, PAUSED, STOPPED, UNASSIGNED, RESTARTING.
        worker: host:port of the Connect worker that has it.
        trace: Java's stack trace where it has failed, else empty.
    """

    state: str
    worker: str
    trace: str = ""

    @classmethod
    def from_answer(cls, answer: Mapping[str, Any]) -> Self:
        return cls(answer["state"], answer.get("worker_id", ""), answer.get("trace") or "")


@dataclass(frozen=True, slots=True)
class ConnectorStatus:
    """A connector with its tasks, by number."""

    name: str
    connector: Part
    tasks: Mapping[int, Part]

    @classmethod
    def from_answer(cls, answer: Mapping[str, Any]) -> Self:
        """From what ``GET /connectors/NAME/status`` answers."""
        tasks = {int(task["id"]): Part.from_answer(task) for task in answer["tasks"]}
        return cls(answer["name"], Part.from_answer(answer["connector"]), dict(sorted(tasks.items())))

    @property
    def parts(self) -> dict[str, Part]:
        """The connector and its tasks, by what to call them."""
        return {"connector": self.connector} | {f"task {number}": task for number, task in self.tasks.items()}

    @property
    def failed(self) -> dict[str, Part]:
        """Those of `parts` that have failed."""
        return {what: part for what, part in self.parts.items() if part.state == FAILED}

    @property
    def is_held(self) -> bool:
        """Whether somebody has paused or stopped it: it does not start by itself."""
        return self.connector.state in _HELD

    @property
    def running_tasks(self) -> int:
        return sum(task.state == RUNNING for task in self.tasks.values())

    def is_running(self, task_count: int) -> bool:
        """Whether it runs with all of its tasks, of which there is at least one."""
        states = {part.state for part in self.parts.values()}
        return len(self.tasks) == task_count > 0 and states == {RUNNING}
