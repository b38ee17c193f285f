"""CoOp's matrix equals a plain CustomCLIP of the paper; what does not fit is refused; texts are cached."""

import logging
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

from streamapp.coop.export import Tagger, save_tagger
from streamapp.errors import WeightsError
from streamapp.models import clip_network
from streamapp.models.clip_network import ClipNetwork, load_network
from streamapp.models.clip_source import tiny_source
from streamapp.models.clip_texts import TextCache
from streamapp.models.coop_weights import read_tagger, zero_shot_tagger
from streamapp.models.weights import WeightsFile, sha256_of
from streamapp.policy import TaxonomyClass

NAMES = ("animals", "family_and friends", "food", "selfies")
CLASSES = tuple(
    TaxonomyClass(name=name, primary="one", prompt=f"a picture of {name}.", secondaries=()) for name in NAMES
)
WIDTH = 128  # of the tiny CLIP's text tower


@pytest.fixture(scope="module")
def clip() -> ClipNetwork:
    source = tiny_source()
    return load_network(source, source.locate())


@pytest.fixture
def texts(tmp_path: Path) -> TextCache:
    return TextCache(tmp_path / "texts")


def checkpoint(folder: Path, context: torch.Tensor, classes: int = len(NAMES)) -> WeightsFile:
    """A file as KaiyangZhou/CoOp writes it, with a prefix and a suffix that must be ignored."""
    path = folder / "model.pth.tar-50"
    state = OrderedDict(
        ctx=context,
        token_prefix=torch.randn(classes, 1, context.shape[-1]),
        token_suffix=torch.randn(classes, 60, context.shape[-1]),
    )
    torch.save({"state_dict": state, "epoch": 50, "val_result": 71.5}, path)
    return WeightsFile(path, sha256_of(path))


def context_of(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape))) * 0.05


class CustomCLIP:
    """The paper's classifier, unfolded: the prompts are put together and encoded for every picture."""

    def __init__(self, clip: ClipNetwork, names: tuple[str, ...], context: torch.Tensor) -> None:
        self.clip = clip.model
        if context.ndim == 2:
            context = context.unsqueeze(0).expand(len(names), -1, -1)
        count = context.shape[1]
        placeholders = " ".join(["X"] * count)
        self.tokens = torch.cat(
            [clip.tokenizer(f"{placeholders} {name.replace('_', ' ')}.") for name in names]
        )
        embedding = self.clip.token_embedding(self.tokens)
        self.prompts = torch.cat([embedding[:, :1], context, embedding[:, 1 + count :]], dim=1)

    def logits(self, embedding: torch.Tensor) -> torch.Tensor:
        x = self.prompts + self.clip.positional_embedding
        x = self.clip.transformer(x, attn_mask=self.clip.attn_mask)
        x = self.clip.ln_final(x)
        x = x[torch.arange(x.shape[0]), self.tokens.argmax(dim=-1)] @ self.clip.text_projection
        text = x / x.norm(dim=-1, keepdim=True)
        image = embedding / embedding.norm(dim=-1, keepdim=True)
        return self.clip.logit_scale.exp() * image @ text.t()


@pytest.mark.parametrize("context_tokens", [4, 16])
@pytest.mark.parametrize("is_shared", [True, False], ids=["shared", "class-specific"])
def test_the_folded_head_equals_the_papers_custom_clip(
    clip: ClipNetwork, texts: TextCache, tmp_path: Path, context_tokens: int, is_shared: bool
) -> None:
    shape = (context_tokens, WIDTH) if is_shared else (len(NAMES), context_tokens, WIDTH)
    context = context_of(*shape)
    embeddings = torch.nn.functional.normalize(context_of(9, 128), dim=-1)
    with torch.inference_mode():
        expected = CustomCLIP(clip, NAMES, context).logits(embeddings).numpy()

    tagger = read_tagger(clip, CLASSES, checkpoint(tmp_path, context), texts)

    logits = tagger.scale * embeddings.numpy() @ tagger.weights.T + tagger.bias
    assert np.abs(logits - expected).max() <= 1e-4
    # The context matters, or the comparison would prove nothing.
    without = tagger.scale * embeddings.numpy() @ clip.encode_texts([f"{name}." for name in NAMES]).T
    assert np.abs(logits - without).max() > 0.1


def test_a_checkpoint_for_another_backbone_is_named_with_both_dimensions(
    clip: ClipNetwork, texts: TextCache, tmp_path: Path
) -> None:
    with pytest.raises(WeightsError, match=r"512 numbers, those of tinyclip-emoji have 128"):
        read_tagger(clip, CLASSES, checkpoint(tmp_path, context_of(4, 512)), texts)


def test_contexts_for_other_classes_are_refused(clip: ClipNetwork, texts: TextCache, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="contexts for 5 classes, but 4 are named"):
        read_tagger(clip, CLASSES, checkpoint(tmp_path, context_of(5, 4, WIDTH)), texts)


def test_a_prompt_that_is_too_long_is_refused(clip: ClipNetwork, texts: TextCache, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"model.pth.tar-50 can't be used with tinyclip-emoji: .* tokens"):
        read_tagger(clip, CLASSES, checkpoint(tmp_path, context_of(30, WIDTH)), texts)


def test_prompts_that_fold_to_numbers_that_are_not_finite_are_refused(
    clip: ClipNetwork, texts: TextCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "streamapp.coop.folding.encode_prompts", lambda *_: torch.full((len(NAMES), 128), torch.nan)
    )
    with pytest.raises(WeightsError, match="not finite"):
        read_tagger(clip, CLASSES, checkpoint(tmp_path, context_of(4, WIDTH)), texts)
    assert not (tmp_path / "texts").exists()


def export(folder: Path, clip: ClipNetwork, **changes: object) -> WeightsFile:
    generator = np.random.default_rng(0)
    values = {
        "classes": NAMES,
        "weights": generator.normal(size=(len(NAMES), 128)).astype(np.float32),
        "bias": generator.normal(size=len(NAMES)).astype(np.float32),
        "scale": 20.0,
        "clip_name": clip.source.name,
        "clip_sha256": clip.weights.sha256,
    }
    path = folder / "tagger.safetensors"
    save_tagger(path, Tagger(**values | changes))
    return WeightsFile(path, sha256_of(path))


def test_an_export_is_taken_as_it_is(clip: ClipNetwork, texts: TextCache, tmp_path: Path) -> None:
    tagger = read_tagger(clip, CLASSES, export(tmp_path, clip), texts)

    assert (tagger.classes, tagger.scale) == (NAMES, 20.0)
    assert tagger.bias.any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"weights": np.ones((4, 512), np.float32)},
            "512 numbers for each class, the embeddings .* have 128",
        ),
        ({"clip_name": "ViT-B-16"}, "was made for ViT-B-16 with the SHA-256"),
        ({"clip_sha256": "00" * 32}, "was made for tinyclip-emoji with the SHA-256 0000"),
        ({"classes": ("animals", "food", "family_and friends", "selfies")}, "its class 1 is 'food'"),
        (
            {"classes": NAMES[:3], "weights": np.ones((3, 128), np.float32), "bias": np.zeros(3, np.float32)},
            "it has 3 of them, the policy has 4",
        ),
    ],
    ids=["dimension", "network", "weights", "order", "count"],
)
def test_an_export_that_does_not_fit_is_refused(
    clip: ClipNetwork, texts: TextCache, tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(WeightsError, match=message):
        read_tagger(clip, CLASSES, export(tmp_path, clip, **changes), texts)


def test_without_weights_the_classes_prompts_are_encoded_and_the_log_says_so(
    clip: ClipNetwork, texts: TextCache, caplog: pytest.LogCaptureFixture
) -> None:
    tagger = zero_shot_tagger(clip, CLASSES, texts)

    assert np.abs(tagger.weights - clip.encode_texts([one.prompt for one in CLASSES])).max() <= 1e-6
    assert tagger.scale == pytest.approx(float(clip.model.logit_scale.exp()))
    assert ["zero-shot" in text for text in caplog.messages] == [True]


class Encodings:
    """Counts how often texts are encoded."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        encode = ClipNetwork.encode_texts

        def counted(network: ClipNetwork, sentences: list[str]) -> clip_network.Vectors:
            self.count += 1
            return encode(network, sentences)

        monkeypatch.setattr(ClipNetwork, "encode_texts", counted)


def test_texts_are_encoded_once_for_all_starts(
    clip: ClipNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encodings = Encodings(monkeypatch)

    first = zero_shot_tagger(clip, CLASSES, TextCache(tmp_path))
    second = zero_shot_tagger(clip, CLASSES, TextCache(tmp_path))

    assert encodings.count == 1
    assert np.array_equal(first.weights, second.weights)


def test_another_text_or_another_checkpoint_is_encoded_anew(
    clip: ClipNetwork, texts: TextCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encodings = Encodings(monkeypatch)
    changed = (*CLASSES[:3], CLASSES[3].model_copy(update={"prompt": "a face."}))
    zero_shot_tagger(clip, CLASSES, texts)
    zero_shot_tagger(clip, changed, texts)
    assert encodings.count == 2

    first = read_tagger(clip, CLASSES, checkpoint(tmp_path, context_of(4, WIDTH)), texts)
    second = read_tagger(clip, CLASSES, checkpoint(tmp_path, context_of(8, WIDTH)), texts)
    assert np.abs(first.weights - second.weights).max() > 1e-3


@pytest.mark.parametrize("content", [b"", b"half of a file", b"\x00" * 4096])
def test_a_broken_file_of_texts_is_written_anew(
    clip: ClipNetwork, tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = zero_shot_tagger(clip, CLASSES, TextCache(tmp_path)).weights
    (path,) = tmp_path.iterdir()
    path.write_bytes(content)
    encodings = Encodings(monkeypatch)

    assert np.array_equal(zero_shot_tagger(clip, CLASSES, TextCache(tmp_path)).weights, expected)
    assert np.array_equal(zero_shot_tagger(clip, CLASSES, TextCache(tmp_path)).weights, expected)
    assert encodings.count == 1
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_can_not_be_written_to_costs_a_warning(
    clip: ClipNetwork, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_bytes(b"")
    caplog.set_level(logging.WARNING, "streamapp.models.clip_texts")

    tagger = zero_shot_tagger(clip, CLASSES, TextCache(tmp_path / "file" / "texts"))

    assert len(tagger.weights) == len(CLASSES)
    assert any("the next start encodes again" in text for text in caplog.messages)


def test_a_text_that_the_network_cuts_is_warned_of(
    clip: ClipNetwork, caplog: pytest.LogCaptureFixture
) -> None:
    clip.encode_texts(["a dog.", "a very long text " * 20])
    assert any("1 of 2 texts are too long for tinyclip-emoji" in text for text in caplog.messages)
