"""The policy as a value: thresholds, modes, taxonomy, and the digest by which a row names it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

from streamapp.errors import SettingsError
from streamapp.policy.outcomes import Mode
from streamapp.policy.taxonomy import Taxonomy


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
            _check_threshold(f"NudeNet threshold of {label}", threshold)
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
        thresholds: model name → lowest score in (0, 1] that makes a picture to be moderated, for the
            models that have one score (``mfd``).
        taxonomy: the categories.

    Raises:
        SettingsError: a threshold is outside (0, 1].
    """

    version: str
    nudenet: NudeNetPolicy
    modes: Mapping[str, Mode]
    thresholds: Mapping[str, float]
    taxonomy: Taxonomy

    def __post_init__(self) -> None:
        for name, threshold in self.thresholds.items():
            _check_threshold(f"threshold of {name}", threshold)
        object.__setattr__(self, "modes", MappingProxyType(dict(self.modes)))
        object.__setattr__(self, "thresholds", MappingProxyType(dict(self.thresholds)))

    def threshold(self, model: str) -> float:
        """The threshold of a model that has one score.

        Raises:
            SettingsError: the policy gives it none.
        """
        if model not in self.thresholds:
            raise SettingsError(
                f"The policy {self.version} has no threshold for {model}: add one to it under `models`."
            )
        return self.thresholds[model]

    @cached_property
    def sha256(self) -> str:
        """Hex digest of `content` as JSON: no spaces, UTF-8. Comments and layout of a file don't count."""
        canonical = json.dumps(self.content(), separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(canonical.encode()).hexdigest()

    def content(self) -> dict[str, Any]:
        """The policy in the shape of its file.

        Equal policies have equal contents, to the order of the keys: names are sorted where their order
        means nothing, and kept where it does (the classes and secondaries are the networks' outputs).
        """
        models: dict[str, dict[str, Any]] = {name: {"mode": self.modes[name]} for name in sorted(self.modes)}
        for name, threshold in sorted(self.thresholds.items()):
            models.setdefault(name, {})["threshold"] = float(threshold)
        # Floats, so that a threshold of 1 and one of 1.0 are the same policy.
        unsafe = {label: float(score) for label, score in sorted(self.nudenet.unsafe_thresholds.items())}
        models.setdefault("nudenet", {})["unsafe_thresholds"] = unsafe
        return {"version": self.version, "models": models, "taxonomy": self.taxonomy.content()}


def _check_threshold(what: str, threshold: float) -> None:
    if not 0.0 < threshold <= 1.0:
        raise SettingsError(f"The policy's {what} is {threshold}: give a score in (0, 1].")
