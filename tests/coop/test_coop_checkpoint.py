"""Checkpoints as Dassl, the trainer under KaiyangZhou/CoOp, writes them: one scheduler in it is an object."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler

from streamapp.coop.checkpoint import check_context, read_context
from streamapp.coop.folding import fold_checkpoint
from streamapp.coop.prompts import context_width, encode_prompts, tokenize_prompts
from streamapp.errors import WeightsError
from streamapp.models.clip_network import ClipNetwork

NAMES = ("dog", "cat", "music and singing")


class ConstantWarmup(LRScheduler):
    """Holds another scheduler, as Dassl's does, so that its state_dict pickles that one whole."""

    def __init__(self, optimizer: torch.optim.Optimizer, successor: LRScheduler) -> None:
        self.successor = successor
        super().__init__(optimizer)

    def get_lr(self) -> list[float | torch.Tensor]:
        return [1e-5 for _ in self.base_lrs]


def save_checkpoint(path: Path, context: torch.Tensor, **others: Any) -> Path:
    parameter = torch.nn.Parameter(context)
    optimizer = torch.optim.SGD([parameter], lr=0.002, momentum=0.9)
    parameter.sum().backward()
    optimizer.step()
    scheduler = ConstantWarmup(optimizer, CosineAnnealingLR(optimizer, 50))
    parameter.data.copy_(context)
    content = {
        "state_dict": {
            "ctx": parameter.data,
            "token_prefix": torch.zeros(len(NAMES), 1, context.shape[-1]),
            "token_suffix": torch.zeros(len(NAMES), 77 - 1 - context.shape[-2], context.shape[-1]),
        },
        "epoch": 50,
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
        "val_result": np.float64(71.5),
    }
    torch.save(content | others, path)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.pth.tar-50"


@pytest.mark.parametrize("shape", [(4, 128), (16, 128), (3, 4, 128)])
def test_a_checkpoint_loads_as_it_is(path: Path, shape: tuple[int, ...]) -> None:
    context = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    assert torch.equal(read_context(save_checkpoint(path, context)), context)


def test_half_precision_is_read_as_single(path: Path) -> None:
    assert read_context(save_checkpoint(path, torch.ones(4, 128).half())).dtype == torch.float32


class RunsACommand:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("was-run",)


def test_nothing_in_a_checkpoint_is_run(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_checkpoint(path, torch.ones(4, 128), scheduler=RunsACommand())
    with suppress(WeightsError):  # torch refuses some modules, such as os, whatever stands in for them
        read_context(path)
    assert not (tmp_path / "was-run").exists()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"state_dict": {}}, "no state_dict with a context"),
        ([1, 2], "no state_dict with a context"),
        ({"state_dict": {"ctx": torch.ones(4)}}, "no state_dict with a context"),
        ({"state_dict": {"ctx": torch.full((4, 128), torch.nan)}}, "not finite"),
    ],
)
def test_what_is_no_checkpoint_is_refused(path: Path, content: Any, reason: str) -> None:
    torch.save(content, path)
    with pytest.raises(WeightsError, match=reason):
        read_context(path)


def test_a_file_that_is_broken_or_missing_is_named(path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no CoOp checkpoint at .*model\.pth\.tar-50"):
        read_context(path)
    path.write_bytes(b"PK\x03\x04 and nothing else")
    with pytest.raises(WeightsError, match=r"model\.pth\.tar-50 can't be read"):
        read_context(path)


def test_a_checkpoint_of_another_backbone_is_refused_with_both_widths(clip: ClipNetwork, path: Path) -> None:
    save_checkpoint(path, torch.ones(16, 512))
    with pytest.raises(WeightsError, match="have 512 numbers, those of tinyclip-emoji have 128"):
        fold_checkpoint(clip, path, NAMES)


def test_contexts_for_other_classes_are_refused(path: Path) -> None:
    with pytest.raises(WeightsError, match="contexts for 5 classes, but 3 are named"):
        check_context(path, torch.ones(5, 4, 128), classes=3, width=128, clip_name="tiny")


@pytest.mark.parametrize("shape", [(4, 128), (3, 4, 128)])
def test_a_folded_checkpoint_is_its_prompts(clip: ClipNetwork, path: Path, shape: tuple[int, ...]) -> None:
    context = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    tagger = fold_checkpoint(clip, save_checkpoint(path, context), NAMES)
    assert shape[-1] == context_width(clip.model)
    tokens = tokenize_prompts(clip.tokenizer, NAMES, shape[-2])
    assert np.allclose(tagger.weights, encode_prompts(clip.model, tokens, context).numpy(), atol=1e-6)
    assert (tagger.classes, tagger.clip_sha256) == (NAMES, clip.weights.sha256)
    assert tagger.scale == pytest.approx(clip.scale)
    assert not tagger.bias.any()
