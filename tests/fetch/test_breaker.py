"""When a host is left alone, and how it comes back."""

import pytest

from streamapp.errors import FetchError
from streamapp.fetch.breaker import Breakers, Outcome, outcome_of
from streamapp.reasons import Reason

HOST = "cdn.example"


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def ask(breakers: Breakers, outcome: Outcome, host: str = HOST) -> bool:
    """One request from beginning to end; tells whether the breaker opened by it."""
    assert not breakers.wait_s(host)
    return breakers.end(host, outcome, is_probe=breakers.begin(host))


def opened(clock: Clock, failures: int = 3, open_s: float = 30.0) -> Breakers:
    breakers = Breakers(failures, open_s, clock)
    assert [ask(breakers, Outcome.FAILED) for _ in range(failures)] == [False] * (failures - 1) + [True]
    return breakers


def test_failures_in_a_row_open_it_for_a_while(clock: Clock) -> None:
    breakers = opened(clock)
    assert breakers.wait_s(HOST) == 30.0
    assert breakers.failures(HOST) == 3
    assert not breakers.wait_s("other.example")
    clock.now_s = 29.0
    assert breakers.wait_s(HOST) == 1.0
    clock.now_s = 30.0
    assert not breakers.wait_s(HOST)


def test_an_answer_in_between_begins_the_count_anew(clock: Clock) -> None:
    breakers = Breakers(2, 30.0, clock)
    for _ in range(5):
        assert not ask(breakers, Outcome.FAILED)
        ask(breakers, Outcome.ANSWERED)


def test_what_says_nothing_about_the_host_is_not_counted(clock: Clock) -> None:
    breakers = Breakers(2, 30.0, clock)
    ask(breakers, Outcome.FAILED)
    ask(breakers, Outcome.NOTHING)
    assert breakers.failures(HOST) == 1
    assert ask(breakers, Outcome.FAILED)


def test_one_probe_at_a_time_is_let_through(clock: Clock) -> None:
    breakers = opened(clock)
    clock.now_s = 30.0
    assert breakers.begin(HOST)
    assert breakers.wait_s(HOST) > 0
    breakers.end(HOST, Outcome.NOTHING, is_probe=True)
    # It was cancelled: the next one is the probe.
    assert not breakers.wait_s(HOST)
    assert breakers.begin(HOST)


def test_a_probe_that_is_answered_closes_it(clock: Clock) -> None:
    breakers = opened(clock)
    clock.now_s = 30.0
    ask(breakers, Outcome.ANSWERED)
    assert not breakers.wait_s(HOST)
    assert not ask(breakers, Outcome.FAILED)


def test_a_probe_that_fails_opens_it_again(clock: Clock) -> None:
    breakers = opened(clock)
    clock.now_s = 30.0
    assert ask(breakers, Outcome.FAILED)
    assert breakers.wait_s(HOST) == 30.0
    assert breakers.failures(HOST) == 4


def test_requests_that_were_under_way_do_not_prolong_it_and_one_that_succeeds_closes_it(clock: Clock) -> None:
    breakers = opened(clock)
    clock.now_s = 20.0
    assert not breakers.end(HOST, Outcome.FAILED, is_probe=False)
    assert breakers.wait_s(HOST) == 10.0
    breakers.end(HOST, Outcome.ANSWERED, is_probe=False)
    assert not breakers.wait_s(HOST)


def test_a_request_that_was_under_way_leaves_the_probe_alone(clock: Clock) -> None:
    breakers = opened(clock)
    clock.now_s = 30.0
    assert breakers.begin(HOST)
    breakers.end(HOST, Outcome.FAILED, is_probe=False)
    breakers.end(HOST, Outcome.NOTHING, is_probe=False)
    assert breakers.wait_s(HOST) > 0


def test_a_flood_of_failing_hosts_takes_bounded_memory(clock: Clock) -> None:
    breakers = Breakers(1, 30.0, clock, most_hosts=2)
    for host in ("a.example", "b.example", "c.example"):
        ask(breakers, Outcome.FAILED, host)
    assert [bool(breakers.wait_s(f"{name}.example")) for name in "abc"] == [False, True, True]


def test_hosts_that_work_take_no_memory(clock: Clock) -> None:
    breakers = Breakers(2, 30.0, clock)
    ask(breakers, Outcome.FAILED)
    ask(breakers, Outcome.ANSWERED)
    ask(breakers, Outcome.NOTHING, "other.example")
    assert not breakers._breakers


def test_a_probe_whose_host_was_forgotten_ends_all_the_same(clock: Clock) -> None:
    breakers = Breakers(1, 30.0, clock, most_hosts=1)
    ask(breakers, Outcome.FAILED)
    clock.now_s = 30.0
    assert breakers.begin(HOST)
    ask(breakers, Outcome.FAILED, "other.example")
    assert not breakers.end(HOST, Outcome.NOTHING, is_probe=True)


@pytest.mark.parametrize(
    ("reason", "is_retriable", "outcome"),
    [
        (Reason.TIMEOUT, True, Outcome.FAILED),
        (Reason.CONNECTION_FAILED, True, Outcome.FAILED),
        (Reason.SERVER_ERROR, True, Outcome.FAILED),
        (Reason.RATE_LIMITED, True, Outcome.FAILED),
        (Reason.BAD_RESPONSE, True, Outcome.FAILED),
        (Reason.HOST_UNKNOWN, True, Outcome.FAILED),
        (Reason.NOT_FOUND, False, Outcome.ANSWERED),
        (Reason.REFUSED, False, Outcome.ANSWERED),
        (Reason.TOO_LARGE, False, Outcome.ANSWERED),
        (Reason.BAD_RESPONSE, False, Outcome.ANSWERED),
        (Reason.ADDRESS_BLOCKED, False, Outcome.NOTHING),
        (Reason.HOST_BLOCKED, False, Outcome.NOTHING),
        (Reason.HOST_UNKNOWN, False, Outcome.NOTHING),
        (Reason.TLS_FAILED, False, Outcome.NOTHING),
    ],
)
def test_only_what_a_retry_is_for_counts_as_the_hosts_failure(
    reason: Reason, is_retriable: bool, outcome: Outcome
) -> None:
    assert outcome_of(FetchError(reason, "x", is_retriable=is_retriable)) is outcome
