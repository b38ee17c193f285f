"""The policy: what counts as unsafe, and when a person must look. Pure values and pure rules.

`DEFAULT_POLICY` is the one place where the thresholds stand. A row's PROVENANCE names the policy by its
version and by the digest of its content, so that a changed threshold can't go unnoticed.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any, Literal

from streamapp.errors import SettingsError
from streamapp.models.base import Verdict
from streamapp.reasons import Status

Mode = Literal["enforce"]
"""What a model's verdict does: ``enforce`` means that it decides TO_BE_MODERATED."""


@dataclass(frozen=True)
class NudeNetPolicy:
    """Which of NudeNet's classes are unsafe, and from which score on.

    Attributes:
        unsafe_thresholds: class → lowest score in (0, 1] that makes a picture to be moderated.

    Raises:
        SettingsError: a threshold is outside (0, 1].
    """

    unsafe_thresholds: Mapping[str, float]

    def __post_init__(self) -> None:
        for label, threshold in self.unsafe_thresholds.items():
            if not 0.0 < threshold <= 1.0:
                raise SettingsError(
                    f"The policy's NudeNet threshold of {label} is {threshold}: give a score in (0, 1]."
                )
        object.__setattr__(self, "unsafe_thresholds", MappingProxyType(dict(self.unsafe_thresholds)))

    def is_unsafe_class(self, label: str) -> bool:
        """Whether this class counts towards a frame's unsafe score, whatever its score."""
        return label in self.unsafe_thresholds

    def is_unsafe(self, label: str, score: float) -> bool:
        """Whether one detection is enough for the picture to be moderated."""
        threshold = self.unsafe_thresholds.get(label)
        return threshold is not None and score >= threshold


@dataclass(frozen=True)
class Policy:
    """Everything that turns scores into decisions.

    Attributes:
        version: given by whoever changes the policy; a date by custom.
        nudenet: NudeNet's unsafe classes and thresholds.
        modes: model name → what its verdict does.
    """

    version: str
    nudenet: NudeNetPolicy
    modes: Mapping[str, Mode]

    def __post_init__(self) -> None:
        object.__setattr__(self, "modes", MappingProxyType(dict(self.modes)))

    @cached_property
    def sha256(self) -> str:
        """Hex digest of the policy as canonical JSON: sorted keys, no spaces, UTF-8."""
        canonical = json.dumps(self._content(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(canonical.encode()).hexdigest()

    def _content(self) -> dict[str, Any]:
        # Floats, so that a threshold of 1 and one of 1.0 are the same policy.
        thresholds = {label: float(score) for label, score in self.nudenet.unsafe_thresholds.items()}
        return {
            "version": self.version,
            "nudenet": {"unsafe_thresholds": thresholds},
            "modes": dict(self.modes),
        }


# NudeNet finds 60.6 % of explicit pictures at 0.2 and 37.8 % at 0.5 (notAI-tech/NudeNet#159): the
# thresholds are low, because a picture that is missed costs more than one that a person looks at.
DEFAULT_POLICY = Policy(
    version="2026-11-22",
    nudenet=NudeNetPolicy(
        {
            "FEMALE_BREAST_EXPOSED": 0.25,
            "FEMALE_GENITALIA_EXPOSED": 0.25,
            "MALE_GENITALIA_EXPOSED": 0.25,
            "BUTTOCKS_EXPOSED": 0.25,
            "ANUS_EXPOSED": 0.25,
        }
    ),
    modes={"nudenet": "enforce"},
)


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
        """The row's ``*_TO_BE_MODERATED``, fail closed (DESIGN §5).

        A model that is switched off, or only tags, never asks for a person; one that is on and has
        no verdict always does.
        """
        if not self.moderates or self.status is Status.SWITCHED_OFF:
            return False
        return self.verdict is None or self.verdict.to_be_moderated


def row_to_be_moderated(outcomes: Iterable[ModelOutcome]) -> bool:
    """The row's TO_BE_MODERATED: true when any model that moderates says so (DESIGN §5)."""
    return any(outcome.to_be_moderated for outcome in outcomes)
