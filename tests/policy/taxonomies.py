"""Small taxonomies and scores for the tests of the rules."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from streamapp.policy import Taxonomy

Scores = npt.NDArray[np.float32]


def taxonomy_of(classes: Mapping[str, tuple[str, Sequence[str]]], **others: Any) -> Taxonomy:
    """A taxonomy from class → (primary, secondaries); further secondaries as ``secondaries``."""
    names = dict.fromkeys(name for _, secondaries in classes.values() for name in secondaries)
    names |= dict.fromkeys(others.pop("secondaries", ()))
    content = {
        "min_class_probability": 0.05,
        "moderated_primaries": [],
        "classes": [
            {
                "name": name,
                "primary": primary,
                "prompt": f"a photo of {name}.",
                "secondaries": list(secondaries),
            }
            for name, (primary, secondaries) in classes.items()
        ],
        "secondaries": {name: f"a picture of {name}." for name in names},
    }
    return Taxonomy.model_validate(content | others)


def coop_frame(taxonomy: Taxonomy, **probabilities: float) -> Scores:
    """CoOp's finding on one frame: these probabilities by class (``_`` for ``-``), 0 elsewhere."""
    names = {one.name.replace("-", "_").replace(" ", "_"): i for i, one in enumerate(taxonomy.classes)}
    frame = np.zeros(len(taxonomy.classes), np.float32)
    for name, probability in probabilities.items():
        frame[names[name]] = probability
    return frame


def clip_frame(taxonomy: Taxonomy, **logits: float) -> Scores:
    """CLIP's finding on one frame: these logits by secondary (``_`` for ``-``), 0 elsewhere."""
    names = {name.replace("-", "_"): i for name, i in taxonomy.secondary_indices.items()}
    frame = np.zeros(len(taxonomy.secondaries), np.float32)
    for name, logit in logits.items():
        frame[names[name]] = logit
    return frame
