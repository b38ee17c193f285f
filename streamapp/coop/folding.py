"""From a context to a tagger: the prompts are encoded once, and what is left is one matrix."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from streamapp.coop.checkpoint import check_context, read_context
from streamapp.coop.export import Tagger
from streamapp.coop.prompts import context_width, encode_prompts, tokenize_prompts
from streamapp.errors import WeightsError
from streamapp.models.clip_network import ClipNetwork


def fold_checkpoint(clip: ClipNetwork, path: Path, classes: Sequence[str]) -> Tagger:
    """Make a tagger of a checkpoint of KaiyangZhou/CoOp.

    Args:
        clip: the CLIP that it was trained on.
        classes: in the order of its training.

    Raises:
        WeightsError: it can't be read, or was trained on another CLIP or for other classes.
        StreamappError: the network's text tower does not fit CoOp.
    """
    context = read_context(path)
    check_context(
        path,
        context,
        classes=len(classes),
        width=context_width(clip.model),
        clip_name=clip.source.name,
    )
    return fold_context(clip, classes, context)


def fold_context(clip: ClipNetwork, classes: Sequence[str], context: Tensor) -> Tagger:
    """Encode the classes' prompts with this context.

    Args:
        context: (M, W), or (C, M, W) for one of each class.
    """
    device = clip.model.logit_scale.device
    tokens = tokenize_prompts(clip.tokenizer, classes, context.shape[-2]).to(device)
    with torch.no_grad():
        weights = encode_prompts(clip.model, tokens, context.to(device))
    return make_tagger(clip, classes, weights)


def make_tagger(clip: ClipNetwork, classes: Sequence[str], weights: Tensor) -> Tagger:
    """The tagger of class weights (C, D) that fit this network's embeddings.

    Raises:
        WeightsError: they are not finite, or the network's scale is not.
    """
    if not bool(weights.isfinite().all()):
        raise WeightsError(f"The prompts encoded with {clip.weights.path} are numbers that are not finite.")
    return Tagger(
        classes=tuple(classes),
        weights=weights.float().cpu().numpy(),
        bias=np.zeros(len(classes), np.float32),
        scale=clip.scale,
        clip_name=clip.source.name,
        clip_sha256=clip.weights.sha256,
    )
