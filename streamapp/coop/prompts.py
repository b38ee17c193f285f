"""Prompts with a learnt context: start, M vectors in place of words, the class name, a full stop, end.

The order, and the full stop, are KaiyangZhou/CoOp's, so that its checkpoints mean the same here.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from streamapp.errors import StreamappError

_PLACEHOLDER = "X"


def tokenize_prompts(tokenizer: Any, names: Sequence[str], context_tokens: int) -> Tensor:
    """Turn class names into token ids, with room for the context.

    Args:
        tokenizer: open_clip's of the network.
        names: of the classes; an underscore stands for a space.
        context_tokens: M, the number of context vectors.

    Returns:
        (C, L) int64: the start token, M placeholders, the name, a full stop, the end token, zeros; L is
        the longest prompt's length, since the tokens behind the end have no effect and cost time.

    Raises:
        StreamappError: a name is too long for the network, or its tokenizer is none of CLIP's.
    """
    placeholders = " ".join([_PLACEHOLDER] * context_tokens)
    tokens = tokenize_texts(tokenizer, [f"{placeholders} {name.replace('_', ' ')}." for name in names])
    placeholder = tokenize_texts(tokenizer, [_PLACEHOLDER])[0, 1]
    if not bool((tokens[:, 1 : 1 + context_tokens] == placeholder).all()):
        raise StreamappError("The network's tokenizer has no one-token words: CoOp needs one of CLIP's own.")
    return tokens


def tokenize_texts(tokenizer: Any, texts: Sequence[str]) -> Tensor:
    """Turn texts into token ids, cut to the longest of them.

    Returns:
        (N, L) int64: start token, text, end token, zeros.

    Raises:
        StreamappError: a text is too long for the network, which would cut it short.
    """
    for text in texts:
        length = len(tokenizer.encode(text)) + 2
        if length > tokenizer.context_length:
            raise StreamappError(
                f"The prompt {text!r} has {length} tokens, the network takes {tokenizer.context_length}: "
                "use a shorter name or fewer context vectors."
            )
    tokens: Tensor = tokenizer(list(texts))
    return tokens[:, : int(tokens.argmax(dim=1).max()) + 1]


def context_width(network: Any) -> int:
    """The length of a context vector for this network's text tower."""
    return int(_text_tower(network).token_embedding.embedding_dim)


def context_of_words(network: Any, tokenizer: Any, words: str) -> Tensor:
    """The token embeddings of some words, to start a context from.

    Returns:
        (M, W) float32 on the CPU, one vector for each token of the words.

    Raises:
        StreamappError: there are no words.
    """
    tokens = tokenize_texts(tokenizer, [words])
    if tokens.shape[1] <= 2:
        raise StreamappError("The words that the context starts from are empty.")
    with torch.no_grad():
        embedding = _text_tower(network).token_embedding
        embedded: Tensor = embedding(tokens[0, 1:-1].to(embedding.weight.device))
    return embedded.float().cpu().clone()


def encode_prompts(network: Any, tokens: Tensor, context: Tensor | None = None) -> Tensor:
    """Encode prompts, with context vectors in the place of the tokens behind the start.

    What open_clip's `encode_text` does for a causal text tower that reads the end token; it takes ids
    alone and pads to the full length.

    Args:
        network: an open_clip model.
        tokens: (C, L) int64 of `tokenize_prompts` or `tokenize_texts`, on the network's device.
        context: (M, W) for all prompts, or (C, M, W); gradients reach it. None takes the tokens as they are.

    Returns:
        (C, D) in the network's precision, of unit length.

    Raises:
        StreamappError: the text tower is of another kind.
    """
    tower = _text_tower(network)
    embedded = tower.token_embedding(tokens)
    if context is not None:
        shared = context.expand(len(tokens), -1, -1)
        embedded = torch.cat([embedded[:, :1], shared, embedded[:, 1 + shared.shape[1] :]], dim=1)
    dtype, length = tower.transformer.get_cast_dtype(), tokens.shape[1]
    hidden = embedded.to(dtype) + tower.positional_embedding[:length].to(dtype)
    hidden = tower.ln_final(tower.transformer(hidden, attn_mask=tower.attn_mask[:length, :length]))
    ends = hidden[torch.arange(len(tokens), device=tokens.device), tokens.argmax(dim=1)]
    projection = tower.text_projection
    projected = projection(ends) if isinstance(projection, torch.nn.Module) else ends @ projection
    return functional.normalize(projected, dim=-1)


def _text_tower(network: Any) -> Any:
    """The part of an open_clip model that has the text's layers.

    Raises:
        StreamappError: it is not causal, or does not end in its last token, as CoOp's method has it.
    """
    tower = getattr(network, "text", network)
    pooling = getattr(tower, "pool_type", getattr(tower, "text_pool_type", None))
    is_causal = getattr(tower, "attn_mask", None) is not None and getattr(tower, "cls_emb", None) is None
    if pooling != "argmax" or not is_causal or tower.text_projection is None:
        raise StreamappError(
            f"CoOp needs a text tower like CLIP's own; that of {type(network).__name__} reads its text "
            f"in another way (pooling {pooling!r}): choose a network such as ViT-B-16."
        )
    return tower
