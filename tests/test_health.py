"""What a worker is called live and ready for."""

from dataclasses import replace

import pytest

from streamapp.health import LOOP_STILL_S, Condition, Conditions, Situation, live, ready

UP = Situation(is_broker_there=True, are_models_warm=True, partitions=4)


def failing(conditions: Conditions) -> set[str]:
    return {name for name, seen in conditions.items() if not seen.holds}


@pytest.mark.parametrize(
    ("seen", "conditions"),
    [
        (UP, set()),
        (Situation(), set()),  # it starts: a restart would not help
        (replace(UP, is_draining=True), set()),
        (replace(UP, is_broker_there=False, is_rebalancing=True), set()),
        (replace(UP, loop_still_s=LOOP_STILL_S + 1), {"event_loop"}),
        (replace(UP, running_s={"nudenet": 59.0, "mfd": 0.0}), set()),
        (replace(UP, running_s={"nudenet": 61.0, "mfd": 0.0}), {"models"}),
        (replace(UP, crash="BatchTimeoutError()"), {"process"}),
    ],
)
def test_only_what_a_restart_mends_is_not_live(seen: Situation, conditions: set[str]) -> None:
    assert failing(live(seen)) == conditions


@pytest.mark.parametrize(
    ("seen", "conditions"),
    [
        (UP, set()),
        (replace(UP, partitions=0), set()),
        (Situation(), {"broker", "models", "partitions"}),
        (replace(UP, is_broker_there=False), {"broker"}),
        (replace(UP, is_rebalancing=True), {"rebalance"}),
        (replace(UP, partitions=None), {"partitions"}),
        (replace(UP, is_draining=True), {"drain"}),
        (replace(UP, crash="KafkaError()"), {"drain"}),
    ],
)
def test_a_worker_that_can_not_take_events_now_is_not_ready(seen: Situation, conditions: set[str]) -> None:
    assert failing(ready(seen)) == conditions


def test_a_condition_says_what_is_seen() -> None:
    hanging = live(replace(UP, running_s={"nudenet": 75.4}))["models"]
    standby = ready(replace(UP, partitions=0))["partitions"]

    assert hanging == Condition(False, "nudenet has run one batch for 75 s")
    assert standby == Condition(True, "none assigned: a standby")
