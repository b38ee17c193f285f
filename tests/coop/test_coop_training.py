import copy
from dataclasses import replace

import pytest
import torch

from streamapp.coop.training import Embedded, Epoch, Recipe, Trained, epochs_for, train
from streamapp.errors import StreamappError
from streamapp.models.clip_network import ClipNetwork

NAMES = ("qx7v", "zk3p", "wj9f")
LABELS = torch.arange(3).repeat_interleave(8)
RECIPE = Recipe(context_tokens=4, epochs=12, learning_rate=0.02, batch_pictures=8, patience_epochs=12)


def learn(clip: ClipNetwork, vectors: torch.Tensor, recipe: Recipe = RECIPE) -> Trained:
    even, odd = slice(0, None, 2), slice(1, None, 2)
    training, validation = (Embedded(vectors[part], LABELS[part]) for part in (even, odd))
    return train(clip.model, clip.tokenizer, NAMES, training, validation, recipe)


@pytest.mark.parametrize("is_class_specific", [False, True])
def test_gradients_reach_only_the_context(
    clip: ClipNetwork, vectors: torch.Tensor, is_class_specific: bool
) -> None:
    # Even a network that asks for gradients is left alone.
    model = copy.deepcopy(clip.model).requires_grad_(True)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    recipe = replace(RECIPE, epochs=2, is_class_specific=is_class_specific)
    learnt = train(model, clip.tokenizer, NAMES, Embedded(vectors, LABELS), Embedded(vectors, LABELS), recipe)
    assert learnt.epochs[-1].training_loss != learnt.epochs[1].training_loss
    assert [name for name, parameter in model.named_parameters() if parameter.grad is not None] == []
    after = model.state_dict()
    assert [name for name in before if not torch.equal(before[name], after[name])] == []


@pytest.mark.parametrize("is_class_specific", [False, True])
def test_training_learns_names_that_mean_nothing(
    clip: ClipNetwork, vectors: torch.Tensor, is_class_specific: bool
) -> None:
    recipe = replace(RECIPE, epochs=40, patience_epochs=40, is_class_specific=is_class_specific)
    learnt = learn(clip, vectors, recipe)
    assert learnt.best.validation_accuracy >= learnt.epochs[0].validation_accuracy + 0.15
    assert learnt.weights.shape == (3, clip.width)
    assert torch.allclose(learnt.weights.norm(dim=1), torch.ones(3), atol=1e-5)


def test_the_same_seed_learns_the_same(clip: ClipNetwork, vectors: torch.Tensor) -> None:
    first, again = learn(clip, vectors), learn(clip, vectors)
    assert torch.equal(first.context, again.context)
    assert first.epochs == again.epochs
    other = learn(clip, vectors, replace(RECIPE, seed=1))
    assert not torch.equal(first.context, other.context)


def test_training_stops_when_validation_gets_no_better_and_keeps_the_best(
    clip: ClipNetwork, vectors: torch.Tensor
) -> None:
    # Validation labels that contradict the training's for two classes: to learn well is to get worse.
    training, validation = Embedded(vectors, LABELS), Embedded(vectors, LABELS.flip(0))
    seen: list[Epoch] = []
    recipe = replace(RECIPE, epochs=60, patience_epochs=3)
    learnt = train(clip.model, clip.tokenizer, NAMES, training, validation, recipe, seen.append)
    assert tuple(seen) == learnt.epochs
    assert learnt.best.number > 0
    assert learnt.epochs[-1].number == learnt.best.number + 3 < 60
    ranks = [(epoch.validation_accuracy, -epoch.validation_loss) for epoch in learnt.epochs]
    assert learnt.best.number == ranks.index(max(ranks))
    logits = clip.scale * validation.vectors[:, 0] @ learnt.weights.T
    loss = torch.nn.functional.cross_entropy(logits, validation.labels)
    assert float(loss) == pytest.approx(learnt.best.validation_loss, rel=1e-4)


def test_words_start_the_context(clip: ClipNetwork, vectors: torch.Tensor) -> None:
    learnt = learn(clip, vectors, replace(RECIPE, epochs=1, words="a photo of a"))
    assert learnt.context.shape[0] == 4
    sentences = clip.encode_texts([f"a photo of a {name}." for name in NAMES])
    assert torch.allclose(learnt.start_weights, torch.from_numpy(sentences), atol=1e-5)


def test_a_loss_that_is_not_finite_ends_the_training(clip: ClipNetwork, vectors: torch.Tensor) -> None:
    broken = vectors.clone()
    broken[0] = torch.nan
    with pytest.raises(StreamappError, match="not finite in epoch 1"):
        learn(clip, broken)


def test_the_rate_warms_up_for_an_epoch_and_falls_by_half_a_cosine() -> None:
    recipe = Recipe(epochs=101, learning_rate=0.002)
    rates = [recipe.learning_rate_at(epoch) for epoch in range(1, 102)]
    assert rates[0] == 1e-5
    assert rates[1] == 0.002
    assert rates[51] == pytest.approx(0.001)
    assert rates[1:] == sorted(rates[1:], reverse=True)
    assert 0 < rates[-1] < 1e-6


def test_more_shots_get_more_epochs() -> None:
    assert [epochs_for(shots) for shots in (1, 2, 4, 8, 16)] == [50, 100, 100, 200, 200]
