"""CLIP and CoOp as one network: a frame's embedding is computed once, and every head judges by it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from streamapp.errors import ModelError
from streamapp.media import Frame, Pixels
from streamapp.models.base import Head, Network
from streamapp.models.clip_backbone import ClipBackbone
from streamapp.models.clip_heads import EmbeddingHead
from streamapp.models.clip_network import Vectors
from streamapp.reasons import Reason


class ImageEmbedder(Network[Pixels, Vectors, Mapping[str, Vectors]]):
    """Embeds frames with a CLIP's image tower for one head or two.

    Args:
        backbone: the image tower on its device.
        heads: in the row's order, of this backbone.
        lanes: threads that may run it at the same time; they share its weights.
        batch_sizes: see `Network`.
    """

    def __init__(
        self,
        backbone: ClipBackbone,
        heads: Sequence[EmbeddingHead],
        *,
        lanes: int = 1,
        batch_sizes: tuple[int, ...] = (1, 2, 4, 8, 16),
    ) -> None:
        if not heads or any(head.backbone is not backbone for head in heads):
            raise ValueError("An image embedder's heads must be of its own backbone. This is a bug.")
        self.name = "+".join(head.name for head in heads)
        self.lanes = lanes
        self.batch_sizes = batch_sizes
        self._backbone = backbone
        self._heads = tuple(heads)

    @property
    def heads(self) -> Sequence[Head]:
        """CLIP, CoOp, or both."""
        return self._heads

    def check_weights(self) -> None:
        """Hash the weights of the backbone and of every head."""
        self._backbone.check_weights()
        for head in self._heads:
            head.check_weights()

    def load(self) -> None:
        """Load the CLIP, encode the heads' texts with it, and keep its image tower.

        Raises:
            WeightsError: a file is missing, is no such network, or does not fit the others.
        """
        self._backbone.load()
        for head in self._heads:
            head.load()
        self._backbone.settle()

    def prepare(self, frame: Frame) -> Pixels:
        """The square that the image tower looks at: ``(side, side, 3)`` uint8."""
        return self._backbone.transform(frame.pixels)

    def infer(self, batch: Sequence[Pixels]) -> Sequence[Vectors]:
        """Embed the squares; each answer is ``(D,)`` float32 of unit length."""
        return list(self._backbone.embed(batch))

    def finish(self, raw: Vectors, prepared: Pixels) -> Mapping[str, Vectors]:
        """Every head's finding by its name."""
        if not np.isfinite(raw).all():
            raise ModelError(
                Reason.MODEL_NOT_FINITE, f"{self.name} answered with numbers that are not finite."
            )
        return {head.name: head.find(raw) for head in self._heads}

    def split(self, finding: Mapping[str, Vectors]) -> Mapping[str, Any]:
        """A finding is a mapping by head already."""
        return finding
