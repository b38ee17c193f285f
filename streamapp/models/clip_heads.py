"""CLIP and CoOp: what each makes of a picture's embeddings: one matrix product, and the taxonomy's rules."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from streamapp.coop.export import Tagger
from streamapp.models.base import Findings, Head, ModelInfo, Verdict
from streamapp.models.clip_backbone import ClipBackbone
from streamapp.models.clip_network import Vectors
from streamapp.models.clip_texts import TextCache
from streamapp.models.coop_weights import read_tagger, zero_shot_tagger
from streamapp.models.weights import WeightsFile
from streamapp.policy import Taxonomy, categorise

CLIP, COOP = "clip", "coop"

_DESCRIBED = 3


class EmbeddingHead(Head):
    """A model that judges by the embeddings of a backbone.

    Args:
        backbone: whose embeddings it gets; another head may get them too.
        taxonomy: the categories.
        texts: where encoded texts are kept.
    """

    def __init__(self, backbone: ClipBackbone, taxonomy: Taxonomy, texts: TextCache) -> None:
        self.backbone = backbone
        self._taxonomy = taxonomy
        self._texts = texts

    @property
    def info(self) -> ModelInfo:
        """What PROVENANCE says of the backbone."""
        return self.backbone.info

    def check_weights(self) -> None:
        """Make sure that the head's own weights are there and are the expected ones.

        Raises:
            WeightsError: they are not.
        """
        return

    @abstractmethod
    def load(self) -> None:
        """Bring the head's matrix into memory; the backbone is loaded, with its text tower.

        Raises:
            WeightsError: the head's own weights do not fit the backbone or the taxonomy.
        """

    @abstractmethod
    def find(self, embedding: Vectors) -> Vectors:
        """The finding of one frame.

        Args:
            embedding: ``(D,)`` float32 of unit length.
        """


class ClipHead(EmbeddingHead):
    """CLIP (``CLIP``): compares pictures with the sentence of each secondary category.

    A finding is ``(secondaries,)`` float32 logits, the scaled cosines, in the taxonomy's order.
    """

    name = CLIP
    prefix = "CLIP"

    def __init__(self, backbone: ClipBackbone, taxonomy: Taxonomy, texts: TextCache) -> None:
        super().__init__(backbone, taxonomy, texts)
        self._matrix: Vectors | None = None

    def load(self) -> None:
        """Encode the sentences, or read them from the cache."""
        clip = self.backbone.network
        sentences = list(self._taxonomy.secondaries.values())
        vectors = self._texts.vectors(
            {"clip": clip.weights.sha256, "network": clip.source.title, "texts": sentences},
            lambda: clip.encode_texts(sentences),
        )
        self._matrix = vectors * np.float32(clip.scale)

    def find(self, embedding: Vectors) -> Vectors:
        """Every sentence's logit."""
        if self._matrix is None:
            raise RuntimeError("CLIP's sentences are not encoded. This is a bug.")
        logits: Vectors = self._matrix @ embedding
        return logits

    def judge(self, findings: Findings) -> Verdict:
        """The categories, of CoOp's classes where there are any; moderated primaries ask for a person."""
        return _verdict(self._taxonomy, findings)

    def describe(self, finding: Vectors) -> Sequence[Mapping[str, Any]]:
        """The sentences that are likeliest among all."""
        weights = np.exp(finding - finding.max())
        return _best(list(self._taxonomy.secondaries), weights / weights.sum())


class CoopHead(EmbeddingHead):
    """CoOp (``COOP``): classifies pictures by learnt prompts, or zero-shot. Only tags.

    A finding is ``(classes,)`` float32 probabilities, in the taxonomy's order.

    Args:
        locate: finds the weights, an export or a checkpoint; None: zero-shot from the classes' prompts.
    """

    name = COOP
    prefix = "COOP"
    moderates = False

    def __init__(
        self,
        backbone: ClipBackbone,
        taxonomy: Taxonomy,
        texts: TextCache,
        locate: Callable[[], WeightsFile] | None,
    ) -> None:
        super().__init__(backbone, taxonomy, texts)
        self._locate = locate
        self._weights: WeightsFile | None = None
        self._tagger: Tagger | None = None

    @property
    def info(self) -> ModelInfo:
        """What PROVENANCE says: the backbone and the prompts, their digests joined by a plus sign."""
        of_clip = self.backbone.info
        file = self._weights or self._find_weights()
        if file is None:
            return ModelInfo(
                f"{of_clip.name}, zero-shot", of_clip.weights_sha256, of_clip.precision, of_clip.device
            )
        digests = f"{of_clip.weights_sha256}+{file.sha256}"
        return ModelInfo(f"{of_clip.name}, {file.path.name}", digests, of_clip.precision, of_clip.device)

    def check_weights(self) -> None:
        """Hash the prompts' file, where there is one."""
        self._find_weights()

    def _find_weights(self) -> WeightsFile | None:
        self._weights = self._locate() if self._locate is not None else None
        return self._weights

    def load(self) -> None:
        """Read the weights and fold them to one matrix, or encode the classes' prompts."""
        clip, classes = self.backbone.network, self._taxonomy.classes
        file = self._weights or self._find_weights()
        if file is None:
            self._tagger = zero_shot_tagger(clip, classes, self._texts)
        else:
            self._tagger = read_tagger(clip, classes, file, self._texts)

    def find(self, embedding: Vectors) -> Vectors:
        """Every class's probability."""
        if self._tagger is None:
            raise RuntimeError("CoOp has no weights in memory. This is a bug.")
        logits = self._tagger.scale * (self._tagger.weights @ embedding) + self._tagger.bias
        weights = np.exp(logits - logits.max())
        probabilities: Vectors = (weights / weights.sum()).astype(np.float32)
        return probabilities

    def judge(self, findings: Findings) -> Verdict:
        """The categories by the classes alone; none where CLIP has a finding, whose verdict has them."""
        return Verdict(to_be_moderated=False) if CLIP in findings else _verdict(self._taxonomy, findings)

    def describe(self, finding: Vectors) -> Sequence[Mapping[str, Any]]:
        """The likeliest classes."""
        return _best([one.name for one in self._taxonomy.classes], finding)


def _verdict(taxonomy: Taxonomy, findings: Findings) -> Verdict:
    categories = categorise(taxonomy, findings.get(COOP), findings.get(CLIP))
    return Verdict(
        to_be_moderated=categories.is_moderated,
        columns={
            "PREDICTED_TOP3_PRIMARY_CATEGORY": ", ".join(categories.top3_primary),
            "PREDICTED_TOP3_SECONDARY_CATEGORY": ", ".join(categories.top3_secondary),
        },
        primary_categories=categories.primary,
        secondary_categories=categories.secondary,
    )


def _best(names: Sequence[str], probabilities: Vectors) -> Sequence[Mapping[str, Any]]:
    best = np.argsort(-probabilities, kind="stable")[:_DESCRIBED]
    return [{"label": names[index], "score": round(float(probabilities[index]), 4)} for index in best]
