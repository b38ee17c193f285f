"""CoOp's training: both encoders frozen, the context learnt by cross-entropy on ready embeddings."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from streamapp.coop.prompts import context_of_words, context_width, encode_prompts, tokenize_prompts
from streamapp.errors import StreamappError

# Of the paper and its code: SGD, one epoch of warm-up, a context drawn narrowly about nought.
MOMENTUM, WEIGHT_DECAY = 0.9, 5e-4
WARM_UP_LEARNING_RATE = 1e-5
CONTEXT_DEVIATION = 0.02


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a context is learnt. The defaults are the paper's.

    Attributes:
        context_tokens: M; where words start the context, their tokens count instead.
        words: to start the context from; None draws it at random.
        is_class_specific: a context for each class; needs many shots.
        epochs: at most, the first of which warms up.
        learning_rate: at its highest.
        batch_pictures: in one step.
        patience_epochs: training stops after this many without a better validation.
        seed: of the context's start, the order of the pictures and the choice of their views.
    """

    context_tokens: int = 16
    words: str | None = None
    is_class_specific: bool = False
    epochs: int = 200
    learning_rate: float = 0.002
    batch_pictures: int = 32
    patience_epochs: int = 40
    seed: int = 0

    def learning_rate_at(self, epoch: int) -> float:
        """The rate of an epoch, counted from 1: one epoch of warm-up, then half a cosine down to nought."""
        if epoch == 1:
            return min(WARM_UP_LEARNING_RATE, self.learning_rate)
        done = (epoch - 2) / max(1, self.epochs - 1)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def epochs_for(shots: int) -> int:
    """The paper's number of epochs: 50 at 1 shot, 100 at 2 to 4, 200 above."""
    return 50 if shots == 1 else 100 if shots <= 4 else 200


@dataclass(frozen=True, slots=True, eq=False)
class Embedded:
    """Pictures as the frozen image tower sees them.

    Attributes:
        vectors: (N, V, D) float32 of unit length, V views of each picture.
        labels: (N,) int64, classes' numbers.
    """

    vectors: Tensor
    labels: Tensor


@dataclass(frozen=True, slots=True)
class Epoch:
    """How training stands after an epoch; 0 is the start. Accuracies are shares in [0, 1]."""

    number: int
    training_loss: float | None
    training_accuracy: float | None
    validation_loss: float
    validation_accuracy: float


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """What was learnt.

    Attributes:
        context: (M, W) or (C, M, W) float32, of the best epoch.
        weights: (C, D) float32 of unit length, the prompts with that context encoded.
        start_weights: the same with the context that training began with.
        epochs: the curve, from the start on.
        best: the epoch whose context this is: the best validation accuracy, then the least loss.
    """

    context: Tensor
    weights: Tensor
    start_weights: Tensor
    epochs: tuple[Epoch, ...]
    best: Epoch


def train(
    network: Any,
    tokenizer: Any,
    names: Sequence[str],
    training: Embedded,
    validation: Embedded,
    recipe: Recipe,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
) -> Trained:
    """Learn a context for these classes.

    1. Start the context, from words or at random.
    2. An epoch: every picture once, in one of its views, in a new order.
    3. Validate; remember the best; stop when there is no better for long.
    4. Encode the prompts with the best context.

    Args:
        network: an open_clip model, changed in nothing.
        names: of the classes, by number.

    Raises:
        StreamappError: the network's text tower does not fit CoOp, a name is too long, or the loss
            is not finite.
    """
    learner = _Learner(network, tokenizer, names, recipe)  # 1
    best, best_context = learner.validate(0, None, None, validation), learner.context.detach().clone()
    start_weights = learner.weights(best_context)
    epochs = [best]
    on_epoch(best)
    for number in range(1, recipe.epochs + 1):
        loss, accuracy = learner.run_epoch(number, training)  # 2
        epoch = learner.validate(number, loss, accuracy, validation)  # 3
        epochs.append(epoch)
        on_epoch(epoch)
        if _rank(epoch) > _rank(best):
            best, best_context = epoch, learner.context.detach().clone()
        if number - best.number >= recipe.patience_epochs:
            break
    weights = learner.weights(best_context)  # 4
    return Trained(best_context.cpu(), weights.cpu(), start_weights.cpu(), tuple(epochs), best)


def _rank(epoch: Epoch) -> tuple[float, float]:
    return epoch.validation_accuracy, -epoch.validation_loss


class _Learner:
    """The context, its optimizer, and the network about it, which stays as it is."""

    def __init__(self, network: Any, tokenizer: Any, names: Sequence[str], recipe: Recipe) -> None:
        self._network = network
        self._device = network.logit_scale.device
        self._recipe = recipe
        self._generator = torch.Generator().manual_seed(recipe.seed)
        self._scale = network.logit_scale.detach().exp().float()
        self.context = self._start(tokenizer, len(names)).to(self._device).requires_grad_()
        self._tokens = tokenize_prompts(tokenizer, names, self.context.shape[-2]).to(self._device)
        self._optimizer = torch.optim.SGD(
            [self.context], lr=recipe.learning_rate, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY
        )

    def _start(self, tokenizer: Any, classes: int) -> Tensor:
        """The context to begin with: (M, W), or (C, M, W)."""
        recipe = self._recipe
        if recipe.words is not None:
            context = context_of_words(self._network, tokenizer, recipe.words)
            return context.expand(classes, -1, -1).clone() if recipe.is_class_specific else context
        shape = [recipe.context_tokens, context_width(self._network)]
        shape = [classes, *shape] if recipe.is_class_specific else shape
        return torch.randn(shape, generator=self._generator) * CONTEXT_DEVIATION

    def weights(self, context: Tensor) -> Tensor:
        """The prompts with this context, encoded: (C, D) float32 of unit length."""
        with torch.no_grad():
            return encode_prompts(self._network, self._tokens, context).float()

    def run_epoch(self, number: int, pictures: Embedded) -> tuple[float, float]:
        """Learn from every picture once; returns the mean loss and the share that was predicted rightly."""
        self._optimizer.param_groups[0]["lr"] = self._recipe.learning_rate_at(number)
        loss_sum, right = 0.0, 0
        for vectors, labels in self._batches(pictures):
            weights = encode_prompts(self._network, self._tokens, self.context).float()
            logits = self._scale * vectors @ weights.T
            loss = functional.cross_entropy(logits, labels)
            # Asked of the context alone, so that no parameter of the network ever gets a gradient.
            (self.context.grad,) = torch.autograd.grad(loss, [self.context])
            self._optimizer.step()
            loss_sum += float(loss.detach()) * len(labels)
            right += int((logits.detach().argmax(dim=1) == labels).sum())
        count = len(pictures.labels)
        if not math.isfinite(loss_sum):
            raise StreamappError(f"The loss is not finite in epoch {number}: use a lower learning rate.")
        return loss_sum / count, right / count

    def _batches(self, pictures: Embedded) -> Iterator[tuple[Tensor, Tensor]]:
        """The pictures in a new order, one view of each: (B, D) vectors and (B,) labels."""
        count, views = pictures.vectors.shape[:2]
        view = torch.randint(views, (count,), generator=self._generator)
        order = torch.randperm(count, generator=self._generator)
        for chosen in torch.split(order, self._recipe.batch_pictures):
            vectors = pictures.vectors[chosen, view[chosen]]
            yield vectors.to(self._device), pictures.labels[chosen].to(self._device)

    def validate(self, number: int, loss: float | None, accuracy: float | None, pictures: Embedded) -> Epoch:
        """How the context does on the first view of the validation pictures."""
        labels = pictures.labels.to(self._device)
        logits = self._scale * pictures.vectors[:, 0].to(self._device) @ self.weights(self.context).T
        right = (logits.argmax(dim=1) == labels).float().mean()
        return Epoch(number, loss, accuracy, float(functional.cross_entropy(logits, labels)), float(right))
