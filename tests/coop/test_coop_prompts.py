from types import SimpleNamespace

import pytest
import torch

from streamapp.coop.prompts import (
    context_of_words,
    context_width,
    encode_prompts,
    tokenize_prompts,
    tokenize_texts,
)
from streamapp.errors import StreamappError
from streamapp.models.clip_network import ClipNetwork

NAMES = ("dog", "grinning face", "hot_dog")
SENTENCES = [f"a photo of a {name}." for name in ("dog", "grinning face", "hot dog")]


def open_clips_own(clip: ClipNetwork, texts: list[str]) -> torch.Tensor:
    with torch.no_grad():
        encoded: torch.Tensor = clip.model.encode_text(clip.tokenizer(texts), normalize=True)
    return encoded


def test_texts_are_encoded_as_open_clip_encodes_them(clip: ClipNetwork) -> None:
    tokens = tokenize_texts(clip.tokenizer, SENTENCES)
    assert tokens.shape[1] < clip.tokenizer.context_length
    assert torch.allclose(encode_prompts(clip.model, tokens), open_clips_own(clip, SENTENCES), atol=1e-6)


def test_a_context_of_words_means_what_the_words_mean(clip: ClipNetwork) -> None:
    context = context_of_words(clip.model, clip.tokenizer, "a photo of a")
    assert context.shape == (4, context_width(clip.model))
    tokens = tokenize_prompts(clip.tokenizer, NAMES, len(context))
    assert torch.allclose(
        encode_prompts(clip.model, tokens, context), open_clips_own(clip, SENTENCES), atol=1e-6
    )


def test_each_class_may_have_a_context_of_its_own(clip: ClipNetwork) -> None:
    tokens = tokenize_prompts(clip.tokenizer, NAMES, 4)
    contexts = torch.randn(3, 4, context_width(clip.model), generator=torch.Generator().manual_seed(0))
    together = encode_prompts(clip.model, tokens, contexts)
    alone = [encode_prompts(clip.model, tokens, context)[row] for row, context in enumerate(contexts)]
    assert torch.allclose(together, torch.stack(alone), atol=1e-6)


def test_a_name_that_the_network_would_cut_short_is_refused(clip: ClipNetwork) -> None:
    with pytest.raises(StreamappError, match=r"has \d+ tokens, the network takes 32"):
        tokenize_prompts(clip.tokenizer, ["a very long name " * 8], 16)


def test_empty_words_are_no_context(clip: ClipNetwork) -> None:
    with pytest.raises(StreamappError, match="empty"):
        context_of_words(clip.model, clip.tokenizer, "  ")


def test_a_text_tower_that_reads_its_text_in_another_way_is_refused() -> None:
    siglip = SimpleNamespace(text=SimpleNamespace(pool_type="last", attn_mask=None, text_projection=None))
    with pytest.raises(StreamappError, match="pooling 'last'"):
        encode_prompts(siglip, torch.zeros(1, 4, dtype=torch.int64))
