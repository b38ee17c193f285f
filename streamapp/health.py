"""Whether a worker lives and whether it is ready: pure decisions on what is seen at one moment.

Live means that a restart would not help; ready means that it takes events, or would if it had partitions.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

# Well above the longest job on a healthy loop; well below the time after which the watchdog ends the process.
LOOP_STILL_S = 5.0


@dataclass(frozen=True, slots=True)
class Situation:
    """What is seen of a worker at one moment.

    Attributes:
        loop_still_s: seconds since the event loop turned.
        running_s: network → seconds that its longest batch has run until now.
        model_timeout_s: longest time that a batch may take.
        crash: what ends the worker; None where nothing does.
        is_draining: it was told to end, and ends in order.
        is_broker_there: the broker answers.
        are_models_warm: all are loaded and have run.
        partitions: assigned to it, 0 for a standby; None before it has joined its group.
        is_rebalancing: partitions are being moved.
    """

    loop_still_s: float = 0.0
    running_s: Mapping[str, float] = field(default_factory=dict)
    model_timeout_s: float = 60.0
    crash: str | None = None
    is_draining: bool = False
    is_broker_there: bool = False
    are_models_warm: bool = False
    partitions: int | None = None
    is_rebalancing: bool = False


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing that must hold, and what is seen of it."""

    holds: bool
    detail: str


Conditions = Mapping[str, Condition]


def live(seen: Situation) -> Conditions:
    """What must hold of a worker that need not be restarted. A drain is no reason to end it sooner."""
    hanging = {name: run_s for name, run_s in seen.running_s.items() if run_s > seen.model_timeout_s}
    return {
        "event_loop": Condition(seen.loop_still_s <= LOOP_STILL_S, f"turned {seen.loop_still_s:.1f} s ago"),
        "models": Condition(
            not hanging,
            ", ".join(f"{name} has run one batch for {run_s:.0f} s" for name, run_s in hanging.items())
            or "no batch hangs",
        ),
        "process": Condition(
            seen.crash is None, "runs" if seen.crash is None else f"ends by an error: {seen.crash}"
        ),
    }


def ready(seen: Situation) -> Conditions:
    """What must hold of a worker that takes events."""
    return {
        "broker": Condition(
            seen.is_broker_there,
            "answers" if seen.is_broker_there else "no coordinator of the group is known",
        ),
        "models": Condition(seen.are_models_warm, "warm" if seen.are_models_warm else "are loading"),
        "partitions": Condition(seen.partitions is not None, _assigned(seen.partitions)),
        "rebalance": Condition(not seen.is_rebalancing, "under way" if seen.is_rebalancing else "none"),
        "drain": Condition(
            not seen.is_draining and seen.crash is None,
            "under way" if seen.is_draining or seen.crash else "none",
        ),
    }


def _assigned(partitions: int | None) -> str:
    if partitions is None:
        return "not in the group yet"
    return f"{partitions} assigned" if partitions else "none assigned: a standby"
