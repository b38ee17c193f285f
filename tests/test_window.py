"""The delivery invariant of the offset window, for any order of completion and any rebalance."""

from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from streamapp.window import OffsetWindow, Ticket

PARTITIONS = (0, 1, 2)


@dataclass
class Partition:
    """What the broker knows of one partition."""

    committed: int = 0
    position: int = 0
    with_outcome: set[int] = field(default_factory=set)


class WindowMachine(RuleBasedStateMachine):
    """A broker that delivers, a worker that completes in any order, rebalances at any moment."""

    tickets = Bundle("tickets")

    def __init__(self) -> None:
        super().__init__()
        self.window: OffsetWindow[None] = OffsetWindow()
        self.generation = 1
        self.window.begin_generation(1)
        self.partitions = {name: Partition() for name in PARTITIONS}

    def make_window(self) -> OffsetWindow[None]:
        return OffsetWindow()

    @rule(target=tickets, name=st.sampled_from(PARTITIONS), gap=st.integers(0, 2))
    def deliver(self, name: int, gap: int) -> Ticket[None]:
        # Offsets have gaps where a topic is compacted or written in transactions.
        partition = self.partitions[name]
        offset = partition.position + gap
        partition.with_outcome.update(range(partition.position, offset))
        partition.position = offset + 1
        return self.window.open(name, self.generation, offset, None)

    @rule(ticket=consumes(tickets))
    def complete(self, ticket: Ticket[None]) -> None:
        partition = self.partitions[ticket.partition]
        partition.with_outcome.add(ticket.offset)
        for ready in self.window.complete(ticket):
            assert ready.generation == self.generation
            self.partitions[ready.partition].committed = ready.offset + 1

    @rule(names=st.sets(st.sampled_from(PARTITIONS)))
    def rebalance(self, names: set[int]) -> None:
        """Every partition is delivered again from its committed offset, to this worker or later to it."""
        self.generation += 1
        self.window.begin_generation(self.generation)
        for partition in self.partitions.values():
            partition.position = partition.committed

    @invariant()
    def the_committed_offset_never_passes_an_event_without_an_outcome(self) -> None:
        for partition in self.partitions.values():
            assert partition.with_outcome.issuperset(range(partition.committed))

    @invariant()
    def what_is_not_acked_is_counted(self) -> None:
        assert self.window.unacked == sum(len(lane.tickets) for lane in self.window._lanes.values())


WindowMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
TestWindowMachine = WindowMachine.TestCase


class AckAsCompleted(OffsetWindow[None]):
    """The mistake that the window is there against: acks leave in the order of completion."""

    def complete(self, ticket: Ticket[None]) -> list[Ticket[None]]:
        super().complete(ticket)
        return [ticket] if self.is_current(ticket) else []


class AckOldGenerations(OffsetWindow[None]):
    """The other mistake: acks of an old generation still leave."""

    def begin_generation(self, generation: int) -> int:
        return 0 if self.generation else super().begin_generation(generation)


@pytest.mark.parametrize("broken", [AckAsCompleted, AckOldGenerations])
def test_the_machine_finds_a_window_that_breaks_the_invariant(broken: type[OffsetWindow[None]]) -> None:
    class Broken(WindowMachine):
        def __init__(self) -> None:
            super().__init__()
            self.window = broken()
            self.window.begin_generation(1)

    from hypothesis.stateful import run_state_machine_as_test

    with pytest.raises((AssertionError, RuntimeError, KeyError)):
        run_state_machine_as_test(
            Broken, settings=settings(max_examples=300, stateful_step_count=40, database=None, deadline=None)
        )


@pytest.fixture
def window() -> OffsetWindow[str]:
    window: OffsetWindow[str] = OffsetWindow()
    window.begin_generation(7)
    return window


def test_acks_leave_in_offset_order_whatever_the_order_of_completion(window: OffsetWindow[str]) -> None:
    first, second, third = (window.open(0, 7, offset, "") for offset in (10, 11, 12))

    assert window.complete(third) == []
    assert window.complete(second) == []
    assert window.complete(first) == [first, second, third]
    assert window.unacked == 0


def test_a_slow_event_holds_up_its_own_partition_only(window: OffsetWindow[str]) -> None:
    window.open(0, 7, 10, "slow")
    behind = window.open(0, 7, 11, "")
    elsewhere = window.open(1, 7, 99, "")

    assert window.complete(behind) == []
    assert window.complete(elsewhere) == [elsewhere]
    assert window.unacked == 2


def test_a_late_outcome_of_an_old_generation_is_not_acked(window: OffsetWindow[str]) -> None:
    late = window.open(0, 7, 10, "")

    assert window.begin_generation(8) == 1
    assert not window.is_current(late)
    assert window.complete(late) == []


def test_an_event_of_an_old_generation_does_not_hold_up_the_new_one(window: OffsetWindow[str]) -> None:
    window.open(0, 7, 10, "never done")
    window.begin_generation(8)
    again = window.open(0, 8, 10, "")

    assert window.complete(again) == [again]


def test_an_event_that_was_fetched_before_the_rebalance_is_never_acked(window: OffsetWindow[str]) -> None:
    window.begin_generation(8)
    stale = window.open(0, 7, 10, "")

    assert window.unacked == 0
    assert window.complete(stale) == []


def test_an_event_with_two_outcomes_is_a_bug(window: OffsetWindow[str]) -> None:
    ticket = window.open(0, 7, 10, "")
    window.complete(ticket)

    with pytest.raises(RuntimeError, match="two outcomes"):
        window.complete(ticket)


def test_an_offset_that_goes_back_within_a_generation_is_a_bug(window: OffsetWindow[str]) -> None:
    window.open(0, 7, 10, "")

    with pytest.raises(RuntimeError, match="offset 10 after 10"):
        window.open(0, 7, 10, "")


def test_the_oldest_of_each_partition_are_those_that_hold_up_the_others(window: OffsetWindow[str]) -> None:
    first = window.open(0, 7, 10, "")
    second = window.open(0, 7, 11, "")
    elsewhere = window.open(1, 7, 5, "")
    window.complete(second)
    assert window.oldest() == [first, elsewhere]

    window.complete(first)
    assert window.oldest() == [elsewhere]
