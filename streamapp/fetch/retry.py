"""Whether to try again, and after how long: pure decisions.

Only what can pass is tried again: timeouts, connection errors, 408, 425, 429 and 5xx. A refusal, a
missing file, a blocked address or a bad certificate will be the same a second later.
"""

import math
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from streamapp.errors import FetchError
from streamapp.reasons import Reason

_STATUS_REASONS = {
    HTTPStatus.NOT_FOUND: Reason.NOT_FOUND,
    HTTPStatus.GONE: Reason.NOT_FOUND,
    HTTPStatus.REQUEST_TIMEOUT: Reason.TIMEOUT,
    HTTPStatus.TOO_MANY_REQUESTS: Reason.RATE_LIMITED,
}


def is_retriable_status(status: int) -> bool:
    """Whether another request could be answered otherwise: 408, 425, 429 and 5xx."""
    return status in (408, 425, 429) or 500 <= status <= 599


def refused_status(status: int, retry_after_s: float | None = None) -> FetchError:
    """The error that an HTTP status other than success or redirect stands for."""
    if status in _STATUS_REASONS:
        reason = _STATUS_REASONS[HTTPStatus(status)]
    elif 500 <= status <= 599:
        reason = Reason.SERVER_ERROR
    elif 400 <= status <= 499:
        reason = Reason.REFUSED
    else:
        reason = Reason.BAD_RESPONSE
    return FetchError(
        reason,
        f"The server answered with HTTP status {status}.",
        is_retriable=is_retriable_status(status),
        retry_after_s=retry_after_s,
    )


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """Read a Retry-After header: seconds or an HTTP date (RFC 9110, section 10.2.3).

    Args:
        value: the header, or None.
        now: the current time, timezone-aware.

    Returns:
        Seconds from ``now``, at least 0; None where there is no header or it can't be read.
    """
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        # Longer than any wait that is obeyed, and beyond what a float holds.
        return float(text) if len(text) < 18 else math.inf
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())


def backoff_s(attempt: int, base_s: float, max_s: float, share: float, retry_after_s: float | None) -> float:
    """Seconds to wait after an attempt: exponential backoff with full jitter, or as the server asks.

    Full jitter as in AWS's "Exponential Backoff And Jitter" (2015): uniform from 0 to a ceiling that
    doubles. The ceiling starts at ``2 * base_s``, so that the first wait is ``base_s`` on average.

    Args:
        attempt: the attempt that just failed, from 1.
        base_s: mean of the first wait.
        max_s: no wait is longer, the server's wish included.
        share: a random number in [0, 1).
        retry_after_s: the server's wish, if it gave one.
    """
    # The exponent is capped because a float overflows at 2**1024.
    ceiling_s = min(max_s, base_s * 2.0 ** min(attempt, 64))
    return min(max_s, max(share * ceiling_s, retry_after_s or 0.0))
