"""The fields: type, bound, unit in the name, and one sentence on the trade-off.

`streamapp settings` and the README's table are made from them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from streamapp.settings.checks import lower, upper
from streamapp.settings.fetch_fields import FetchSettings
from streamapp.settings.kafka_fields import KafkaSettings
from streamapp.settings.kinds import Text
from streamapp.settings.model_fields import ModelSettings


@dataclass(frozen=True, slots=True)
class Conflict:
    """Fields that are each fine and do not go together."""

    fields: tuple[str, ...]
    message: str


class ConflictError(ValueError):
    """Carries every `Conflict` through pydantic's validation."""

    def __init__(self, conflicts: tuple[Conflict, ...]) -> None:
        super().__init__("; ".join(f"{', '.join(c.fields)}: {c.message}" for c in conflicts))
        self.conflicts = conflicts


# The bases from last to first are the order of the README and of `streamapp settings`.
class Settings(ModelSettings, FetchSettings, KafkaSettings):
    """The settings of one worker or command; `load_settings` fills it from the environment.

    Built directly, it takes its values from the arguments alone and raises pydantic's own error.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False, hide_input_in_errors=True
    )

    web_port: int = Field(
        default=6066,
        ge=0,
        le=65535,
        description="Port of the worker's pages, on loopback unless web_host says otherwise.",
    )
    web_host: Text = Field(default="127.0.0.1", description="Address that the worker's pages listen on.")
    loop_timeout_s: float = Field(
        default=60.0,
        ge=1,
        description="Longest time that the event loop may stand still; then the worker ends, exit code 70.",
    )
    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(upper)] = Field(
        default="INFO", description="Least severe log record that is written."
    )
    log_format: Annotated[Literal["text", "json"], BeforeValidator(lower)] = Field(
        default="text", description="How the worker's log is written; json: one object a line."
    )

    @model_validator(mode="after")
    def _refuse_conflicts(self) -> Self:
        conflicts = tuple(self._conflicts())
        if conflicts:
            raise ConflictError(conflicts)
        return self

    def _conflicts(self) -> Iterator[Conflict]:
        """Every pair of settings that do not go together."""
        if self.security_protocol == "SASL_SSL":
            for name in ("sasl_username", "sasl_password"):
                if getattr(self, name) is None:
                    yield Conflict(("security_protocol", name), "SASL_SSL needs a user name and a password")
        if (self.ssl_cert_file is None) != (self.ssl_key_file is None):
            yield Conflict(("ssl_cert_file", "ssl_key_file"), "a client certificate needs both files")
        topics = ("events_topic", "results_topic", "dead_letter_topic")
        for index, first in enumerate(topics):
            for second in topics[index + 1 :]:
                if getattr(self, first) == getattr(self, second):
                    yield Conflict(
                        (first, second), f"both are {getattr(self, first)!r}; each topic needs its own name"
                    )
