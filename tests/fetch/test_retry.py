"""What is tried again, and after how long."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamapp.fetch.retry import backoff_s, is_retriable_status, parse_retry_after, refused_status
from streamapp.reasons import Reason

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
def test_a_status_that_can_pass_is_retried(status: int) -> None:
    assert is_retriable_status(status)


@pytest.mark.parametrize("status", [204, 206, 304, 400, 401, 403, 404, 410, 413, 451, 600])
def test_a_status_that_will_stay_is_not_retried(status: int) -> None:
    assert not is_retriable_status(status)


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (404, Reason.NOT_FOUND),
        (410, Reason.NOT_FOUND),
        (403, Reason.REFUSED),
        (425, Reason.REFUSED),
        (408, Reason.TIMEOUT),
        (429, Reason.RATE_LIMITED),
        (503, Reason.SERVER_ERROR),
        (206, Reason.BAD_RESPONSE),
        (304, Reason.BAD_RESPONSE),
    ],
)
def test_a_status_has_its_reason(status: int, reason: Reason) -> None:
    assert refused_status(status).reason is reason


def test_the_first_wait_is_the_base_on_average_and_it_doubles() -> None:
    means = [
        backoff_s(attempt, base_s=1.0, max_s=100.0, share=0.5, retry_after_s=None) for attempt in (1, 2, 3)
    ]
    assert means == [1.0, 2.0, 4.0]


@given(
    attempt=st.integers(1, 10_000),
    base_s=st.floats(0, 60),
    max_s=st.floats(0, 600),
    share=st.floats(0, 1, exclude_max=True),
    retry_after_s=st.none() | st.floats(0, allow_nan=False),
)
def test_no_wait_is_negative_or_longer_than_allowed(
    attempt: int, base_s: float, max_s: float, share: float, retry_after_s: float | None
) -> None:
    assert 0 <= backoff_s(attempt, base_s, max_s, share, retry_after_s) <= max_s


def test_the_servers_wish_is_a_lower_bound_up_to_the_longest_wait() -> None:
    assert backoff_s(1, 1.0, 20.0, 0.0, 7.0) == 7.0
    assert backoff_s(1, 1.0, 20.0, 0.0, 7000.0) == 20.0


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("1.5", None),
        ("٣", None),
        ("0", 0.0),
        (" 120 ", 120.0),
        ("Fri, 02 Jan 2026 03:04:35 GMT", 30.0),
        ("Fri, 02 Jan 2026 03:00:00 GMT", 0.0),
        ("Fri, 02 Jan 99999 03:00:00 GMT", None),
        ("9" * 400, float("inf")),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(value: str | None, expected: float | None) -> None:
    assert parse_retry_after(value, NOW) == expected
