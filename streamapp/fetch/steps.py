"""What the downloader does for one URL, step by step, for people who want to watch it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum


class StepKind(StrEnum):
    """What a step is about."""

    URL = "url"  # a URL passed the checks; the first one or a redirect's
    RESOLVE = "resolve"  # a name's addresses, each with the guard's decision
    CONNECT = "connect"  # an address that a socket is opened for, with the guard's decision
    REQUEST = "request"  # a request is about to be sent
    RESPONSE = "response"  # status and headers came back
    REDIRECT = "redirect"  # the response sends us elsewhere; the target is not yet checked
    BODY = "body"  # the body is in
    WAIT = "wait"  # a wait for the rate limit
    RETRY = "retry"  # an attempt failed, another one follows
    BREAKER = "breaker"  # a host's circuit breaker opened, lets a probe through, or closed
    BLOCKED = "blocked"  # it ends here: the error's reason and message


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened on the way to a file.

    Attributes:
        kind: what it is about.
        seconds: since `Downloader.fetch` was called.
        message: one line for people; never holds a credential or a signed URL.
    """

    kind: StepKind
    seconds: float
    message: str


Observer = Callable[[Step], None]
"""Is called for each step, on the event loop: must return at once and not raise."""


class _Trace:
    """Tells an observer the steps of one fetch."""

    def __init__(self, observe: Observer, clock: Callable[[], float]) -> None:
        self._observe = observe
        self._clock = clock
        self._started_s = clock()

    def tell(self, kind: StepKind, message: str) -> None:
        self._observe(Step(kind, self._clock() - self._started_s, message))


_trace: ContextVar[_Trace | None] = ContextVar("trace", default=None)
"""Of the fetch that this task makes; inherited by the tasks that connect for it."""


@contextmanager
def traced(observe: Observer | None, clock: Callable[[], float] = time.monotonic) -> Iterator[None]:
    """Tell an observer the steps of what is done in the block; none is told where there is none."""
    token = _trace.set(_Trace(observe, clock) if observe else None)
    try:
        yield
    finally:
        _trace.reset(token)


def tell(kind: StepKind, message: str, *parts: object) -> None:
    """Tell a step to whoever watches this fetch; without an observer nothing is formatted."""
    trace = _trace.get()
    if trace is not None:
        trace.tell(kind, message % parts)
