"""CoOp's classifier for a CLIP: from a checkpoint, from an export, or zero-shot from the classes' prompts."""

import logging
from collections.abc import Sequence
from pathlib import Path

import torch

from streamapp.coop.export import Tagger, load_tagger
from streamapp.coop.folding import fold_checkpoint, make_tagger
from streamapp.errors import StreamappError, WeightsError
from streamapp.models.clip_network import ClipNetwork
from streamapp.models.clip_texts import TextCache
from streamapp.models.weights import WeightsFile
from streamapp.policy import TaxonomyClass

logger = logging.getLogger(__name__)


def zero_shot_tagger(clip: ClipNetwork, classes: Sequence[TaxonomyClass], texts: TextCache) -> Tagger:
    """Classify by the classes' own prompts, for want of learnt ones."""
    logger.warning(
        "CoOp has no weights: its %d classes are told apart zero-shot, by the policy's prompts and %s.",
        *(len(classes), clip.source.title),
    )
    prompts = [one.prompt for one in classes]
    vectors = texts.vectors(
        {"clip": clip.weights.sha256, "network": clip.source.title, "texts": prompts},
        lambda: clip.encode_texts(prompts),
    )
    return make_tagger(clip, [one.name for one in classes], torch.from_numpy(vectors))


def read_tagger(
    clip: ClipNetwork, classes: Sequence[TaxonomyClass], file: WeightsFile, texts: TextCache
) -> Tagger:
    """Read CoOp's weights: our export (``.safetensors``), or a checkpoint of KaiyangZhou/CoOp.

    Raises:
        WeightsError: they are for another CLIP or other classes, or no such file.
    """
    if file.path.suffix == ".safetensors":
        tagger = load_tagger(file.path)
        _check_export(file.path, tagger, clip, classes)
        return tagger
    return _folded(clip, classes, file, texts)


def _folded(
    clip: ClipNetwork, classes: Sequence[TaxonomyClass], file: WeightsFile, texts: TextCache
) -> Tagger:
    """The tagger of a checkpoint, its prompts encoded once for all starts."""
    names = [one.name for one in classes]
    origin = {"clip": clip.weights.sha256, "network": clip.source.title, "coop": file.sha256, "names": names}
    try:
        vectors = texts.vectors(origin, lambda: fold_checkpoint(clip, file.path, names).weights)
    except WeightsError:
        raise
    except StreamappError as exc:
        raise WeightsError(f"{file.path} can't be used with {clip.source.title}: {exc}") from exc
    return make_tagger(clip, names, torch.from_numpy(vectors))


def _check_export(path: Path, tagger: Tagger, clip: ClipNetwork, classes: Sequence[TaxonomyClass]) -> None:
    """Refuse an export whose answers would mean nothing here."""
    found, expected = tagger.weights.shape[1], clip.width
    if found != expected:
        raise WeightsError(
            f"{path} was made for another CLIP: its weights have {found} numbers for each class, "
            f"the embeddings of {clip.source.title} have {expected}."
        )
    if (tagger.clip_name, tagger.clip_sha256) != (clip.source.name, clip.weights.sha256):
        raise WeightsError(
            f"{path} was made for {tagger.clip_name} with the SHA-256 {tagger.clip_sha256}, and what is "
            f"loaded is {clip.source.name} with {clip.weights.sha256}: train or convert it for these weights."
        )
    names = tuple(one.name for one in classes)
    if tagger.classes != names:
        raise WeightsError(
            f"{path} has other classes than the policy: {_first_difference(tagger.classes, names)}."
        )


def _first_difference(found: Sequence[str], expected: Sequence[str]) -> str:
    for index, (theirs, ours) in enumerate(zip(found, expected, strict=False)):
        if theirs != ours:
            return f"its class {index} is {theirs!r}, the policy's is {ours!r}"
    return f"it has {len(found)} of them, the policy has {len(expected)}"
