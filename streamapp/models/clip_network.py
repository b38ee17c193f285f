"""Loading an open_clip network from a file, and encoding texts with it; all of it fp32, on the CPU."""

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import open_clip
import torch

from streamapp.errors import WeightsError
from streamapp.models.clip_pixels import PixelTransform
from streamapp.models.clip_source import ClipSource
from streamapp.models.weights import WeightsFile

logger = logging.getLogger(__name__)

Vectors = npt.NDArray[np.float32]

_TEXTS_AT_ONCE = 64
_PREPROCESSING = ("mean", "std", "interpolation", "resize_mode")


@dataclass(frozen=True, slots=True, eq=False)
class ClipNetwork:
    """A CLIP with its weights.

    Attributes:
        source: which one it is.
        weights: the file that the weights came from.
        model: open_clip's module in evaluation mode, fp32, on the CPU.
        tokenizer: open_clip's for this network.
        transform: what its image tower looks at.
    """

    source: ClipSource
    weights: WeightsFile
    model: Any
    tokenizer: Any
    transform: PixelTransform

    @property
    def width(self) -> int:
        """Length D of its embeddings."""
        return int(open_clip.get_model_config(self.source.name)["embed_dim"])

    @property
    def scale(self) -> float:
        """What a cosine is multiplied by to be a logit.

        Raises:
            WeightsError: it is not finite.
        """
        scale = float(self.model.logit_scale.detach().exp())
        if not math.isfinite(scale):
            raise WeightsError(f"{self.weights.path} has a logit scale that is not finite.")
        return scale

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """Embed texts; one that is too long for the network is cut, and a warning says so.

        Returns:
            ``(N, D)`` float32 of unit length.

        Raises:
            WeightsError: they are not finite.
        """
        cut = [text for text in texts if self._tokens(text) > self.model.context_length]
        if cut:
            logger.warning(
                "%d of %d texts are too long for %s and lose their ends, first: %s",
                *(len(cut), len(texts), self.source.title, cut[0]),
            )
        parts = []
        with torch.inference_mode():
            for start in range(0, len(texts), _TEXTS_AT_ONCE):
                tokens = self.tokenizer(list(texts[start : start + _TEXTS_AT_ONCE]))
                parts.append(self.model.encode_text(tokens, normalize=True).float().numpy())
        vectors = np.concatenate(parts)
        if not np.isfinite(vectors).all():
            raise WeightsError(f"{self.weights.path} encodes texts to numbers that are not finite.")
        return vectors

    def _tokens(self, text: str) -> int:
        """Tokens of a text with start and end; 0 where the tokenizer is not one of CLIP's own."""
        is_own = isinstance(self.tokenizer, open_clip.SimpleTokenizer)
        return len(self.tokenizer.encode(text)) + 2 if is_own else 0


def load_network(source: ClipSource, weights: WeightsFile) -> ClipNetwork:
    """Build the network and read its weights; nothing is downloaded or unpickled.

    Raises:
        WeightsError: the file has not this network's weights, or the network needs more than open_clip.
    """
    if source.config is not None and source.name not in open_clip.list_models():
        open_clip.add_model_config(source.config)
    vocabulary = {} if source.vocabulary is None else {"bpe_path": str(source.vocabulary)}
    with _quiet_open_clip():
        model = _read(source, weights)
        tokenizer = open_clip.get_tokenizer(source.name, **vocabulary)
    transform = PixelTransform.from_open_clip(model.visual.preprocess_cfg)
    return ClipNetwork(source, weights, model, tokenizer, transform)


def _read(source: ClipSource, weights: WeightsFile) -> Any:
    """open_clip's module in evaluation mode, built as the tag's weights need it."""
    known = source.pretrained
    try:
        model = open_clip.create_model(
            source.name,
            pretrained=str(weights.path),
            weights_only=True,
            force_quick_gelu=bool(known.get("quick_gelu", False)),
            force_preprocess_cfg={key: known[key] for key in _PREPROCESSING if key in known},
        )
    except Exception as exc:  # torch, safetensors, timm and transformers each raise their own
        raise WeightsError(f"{weights.path} can't be loaded as {source.title}: {_first_line(exc)}") from exc
    return model.eval().requires_grad_(False)


@contextmanager
def _quiet_open_clip() -> Iterator[None]:
    """Drop what open_clip says at INFO by the root logger, whose filters see no other logger's records."""
    root = logging.getLogger()

    def is_warning(record: logging.LogRecord) -> bool:
        return record.levelno >= logging.WARNING

    root.addFilter(is_warning)
    try:
        yield
    finally:
        root.removeFilter(is_warning)


def _first_line(exc: Exception) -> str:
    """An error in one line, with the first of torch's list of mismatches."""
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    return " ".join(lines[:2])[:400] or type(exc).__name__
