"""The worker's exit codes; the README's table is made from them."""

from enum import IntEnum

from streamapp.batching import BatchTimeoutError, DeviceLostError


class Exit(IntEnum):
    """How a worker ends. Whatever the code: events without an outcome are delivered again."""

    meaning: str

    def __new__(cls, code: int, meaning: str) -> "Exit":
        """Make a code that knows its meaning."""
        exit_code = int.__new__(cls, code)
        exit_code._value_ = code
        exit_code.meaning = meaning
        return exit_code

    ORDERLY = 0, "SIGTERM or Ctrl-C: what was in flight has its outcome and is committed, or was given up"
    ERROR = (
        1,
        "it can't start or go on: settings, weights, topics, permissions, a bug; the log says which",
    )
    USAGE = 2, "the command line is wrong"
    DEVICE_LOST = 69, "a model fails on a picture of its own: the device is lost"
    HUNG = (
        70,
        "a batch took longer than `STREAMAPP_MODEL_TIMEOUT_S`, or the event loop stood still for "
        "`STREAMAPP_LOOP_TIMEOUT_S`",
    )
    DRAIN_OVERDUE = 75, "the orderly end took longer than `STREAMAPP_DRAIN_TIMEOUT_S`"


def exit_for(reason: BaseException | None) -> Exit | None:
    """The code of a worker that ended by this error; None where the error has no code of its own."""
    if isinstance(reason, BatchTimeoutError):
        return Exit.HUNG
    if isinstance(reason, DeviceLostError):
        return Exit.DEVICE_LOST
    return None
