"""One event's URL on its way to its file, or to the error that ends it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from yarl import URL

from streamapp.errors import FetchError
from streamapp.fetch.deadline import Deadline
from streamapp.reasons import Reason

Admit = Callable[[], Awaitable[None]]


@dataclass(slots=True)
class Job:
    """What is known of a download so far.

    Attributes:
        source: what the event names; checked, but for ``s3://``.
        deadline: of everything until the last byte is in.
        admit: is awaited then.
        started_s: by the downloader's clock.
        host: who was to be asked last.
        attempts: requests for the source.
        failures: attempts that failed, for whatever reason but an open breaker.
        failure: the last of them, or else that the breaker is open.
    """

    source: URL
    deadline: Deadline
    admit: Admit | None
    started_s: float
    host: str = ""
    attempts: int = 0
    failures: int = 0
    failure: FetchError | None = None

    @property
    def is_s3(self) -> bool:
        """Whether the source is an object of S3."""
        return self.source.scheme == "s3"

    def out_of_time(self, message: str) -> FetchError:
        """The error of the deadline, with what went before; circuit_open if all the time went there."""
        is_unasked = self.failure is not None and self.failure.reason is Reason.CIRCUIT_OPEN
        late = FetchError(Reason.CIRCUIT_OPEN if is_unasked else Reason.TIMEOUT, message, is_retriable=True)
        return self.last_word(late, f"Before that: {self.failure}" if self.failure else "")

    def last_word(self, error: FetchError, note: str = "") -> FetchError:
        """The error that ends it: with a note, and with the number of requests."""
        return FetchError(
            error.reason,
            f"{error} {note}".rstrip(),
            attempts=self.attempts,
            is_retriable=error.is_retriable,
            retry_after_s=error.retry_after_s,
        )
