"""How the models ended on one picture, and whether a person must look at it (DESIGN §5)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from streamapp.models.base import Verdict
from streamapp.reasons import Status

Mode = Literal["enforce", "shadow"]
"""What a model's verdict does: ``enforce``: it has a say in TO_BE_MODERATED; ``shadow``: it runs and fills
its own columns, and has none."""


@dataclass(frozen=True, slots=True)
class ModelOutcome:
    """How one model ended on one picture.

    Attributes:
        prefix: of the model's fields in the row, ``NN``.
        moderates: whether the model has a say in TO_BE_MODERATED; a tagger has none.
        status: the model's STATUS in the row.
        duration_s: seconds that the model took, 0.0 where it did not run.
        verdict: what it said; there exactly when ``status`` is PREDICTED.
    """

    prefix: str
    moderates: bool
    status: Status
    duration_s: float
    verdict: Verdict | None

    def __post_init__(self) -> None:
        if (self.verdict is not None) != self.succeeded:
            raise ValueError(
                f"{self.prefix} has STATUS {self.status.value} and the verdict {self.verdict}. This is a bug."
            )

    @property
    def succeeded(self) -> bool:
        """The row's ``*_PREDICTION_SUCCESS``: true exactly when the STATUS is 0."""
        return self.status is Status.PREDICTED

    @property
    def to_be_moderated(self) -> bool:
        """The row's ``*_TO_BE_MODERATED``, fail closed (DESIGN §5), whatever the model's mode is.

        A model that is switched off, or only tags, never asks for a person; one that is on and has
        no verdict always does.
        """
        if not self.moderates or self.status is Status.SWITCHED_OFF:
            return False
        return self.verdict is None or self.verdict.to_be_moderated


def row_to_be_moderated(outcomes: Mapping[str, ModelOutcome], modes: Mapping[str, Mode]) -> bool:
    """The row's TO_BE_MODERATED: true when any model that is enforced says so (DESIGN §5).

    Args:
        outcomes: model name → how it ended.
        modes: the policy's, with a mode for each of these names.
    """
    return any(outcome.to_be_moderated for name, outcome in outcomes.items() if modes[name] == "enforce")
