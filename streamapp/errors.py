"""Every error that streamapp raises on purpose.

::

    StreamappError
    ├── SettingsError        a setting is unknown or has a bad value: the worker does not start
    ├── WeightsError         a model's file is missing or is not the one expected: likewise
    ├── BrokerError          the broker can't be reached or refuses what is asked
    ├── ConnectError         Kafka Connect can't be reached or refuses what is asked
    ├── WarehouseError       the warehouse can't be reached or refuses what is asked
    ├── EventError           a record is no modify_user event: it becomes a dead letter
    └── PictureError         a picture has no verdict; carries the Reason, which gives the STATUS
        ├── FetchError       the file can't be had (403)
        ├── MediaError       the bytes can't be decoded (1), or hold no frame (5)
        └── ModelError       a model did not answer (4)

Foreign errors are translated where they come in, ``from exc``, to the most specific of these.
"""

from enum import StrEnum

from streamapp.reasons import Reason


class StreamappError(Exception):
    """Anything that streamapp refuses or gives up on purpose."""


class SettingsError(StreamappError):
    """A setting is unknown or has a bad value."""


class WeightsError(StreamappError):
    """A model's file is missing, or its digest is not the expected one."""


class BrokerError(StreamappError):
    """The broker can't be reached, or refuses what is asked of it."""


class ConnectError(StreamappError):
    """Kafka Connect can't be reached, or refuses what is asked of it."""


class WarehouseError(StreamappError):
    """The warehouse can't be reached, or refuses what is asked of it."""


class DeadLetterReason(StrEnum):
    """Why a record went to the dead-letter topic: a closed list."""

    NOT_JSON = "not_json"
    NOT_AN_OBJECT = "not_an_object"
    NO_USER_ID = "no_user_id"
    NO_EVENT_PROPERTIES = "no_event_properties"
    ROW_TOO_LARGE = "row_too_large"


class EventError(StreamappError):
    """A record can't be read as a modify_user event."""

    def __init__(self, reason: DeadLetterReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class PictureError(StreamappError):
    """A picture gets no verdict, for one reason of the closed list."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class FetchError(PictureError):
    """The file can't be had.

    ``attempts`` is the number of requests that were made; ``is_retriable`` says whether another
    try could have ended otherwise; ``retry_after_s`` is the server's own wish, where it gave one.
    """

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        attempts: int = 1,
        is_retriable: bool = False,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(reason, message)
        self.attempts = attempts
        self.is_retriable = is_retriable
        self.retry_after_s = retry_after_s


class MediaError(PictureError):
    """The bytes can't be decoded, or hold no frame."""


class ModelError(PictureError):
    """A model raised on a frame, or its answer can't be used."""
