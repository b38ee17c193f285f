"""The shape of a policy file. `schema.json` is its JSON schema, for editors; a test keeps them equal."""

import json
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema

from streamapp.models.nudenet_detections import LABELS, SCORE_FLOOR
from streamapp.policy.outcomes import Mode
from streamapp.policy.taxonomy import Part, Taxonomy, Word
from streamapp.policy.values import NudeNetPolicy, Policy

Threshold = Annotated[float, Field(gt=0, le=1)]


def _check_label(label: str) -> str:
    if label not in LABELS:
        raise ValueError(f"NudeNet has no class {label}; it has {', '.join(sorted(LABELS))}")
    return label


NudeNetLabel = Annotated[
    str, AfterValidator(_check_label), WithJsonSchema({"type": "string", "enum": sorted(LABELS)})
]


class ModelSection(Part):
    """A model that decides by the taxonomy, or only tags."""

    mode: Mode
    """enforce, or shadow: run and fill its columns without a say in TO_BE_MODERATED."""


class NudeNetSection(ModelSection):
    """NudeNet, the detector of exposed body parts."""

    unsafe_thresholds: dict[NudeNetLabel, Annotated[float, Field(ge=SCORE_FLOOR, le=1)]] = Field(min_length=1)
    """Unsafe class → lowest score that makes a picture to be moderated."""


class ThresholdSection(ModelSection):
    """A model with one score."""

    threshold: Threshold
    """Lowest score that makes a picture to be moderated."""


class OtherSection(ModelSection):
    """A model that was added: its one line of policy."""

    threshold: Threshold | None = None
    """Lowest score that makes a picture to be moderated, if the model has one score."""


class ModelSections(BaseModel):
    """What each model's verdict does, and from which score on."""

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)
    __pydantic_extra__: dict[str, OtherSection]

    nudenet: NudeNetSection
    mfd: ThresholdSection
    clip: ModelSection
    coop: ModelSection

    def sections(self) -> dict[str, ModelSection]:
        """Model name → its section, of all models."""
        own: dict[str, ModelSection] = {
            "nudenet": self.nudenet,
            "mfd": self.mfd,
            "clip": self.clip,
            "coop": self.coop,
        }
        return {**own, **self.__pydantic_extra__}


class PolicyDocument(Part):
    """A policy: thresholds, modes and categories of streamapp."""

    version: Word
    """Given by whoever changes the policy; a date by custom. Rows carry it."""
    models: ModelSections
    taxonomy: Taxonomy

    def policy(self) -> Policy:
        """The same as a value."""
        sections = self.models.sections()
        thresholds = {name: getattr(section, "threshold", None) for name, section in sections.items()}
        return Policy(
            version=self.version,
            nudenet=NudeNetPolicy(self.models.nudenet.unsafe_thresholds),
            modes={name: section.mode for name, section in sections.items()},
            thresholds={name: threshold for name, threshold in thresholds.items() if threshold is not None},
            taxonomy=self.taxonomy,
        )


def schema_text() -> str:
    """`schema.json`'s text."""
    schema: dict[str, Any] = PolicyDocument.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
