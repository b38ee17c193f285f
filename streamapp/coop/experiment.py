"""One training from pictures to figures: part them, embed them, learn, and test against prompts by hand."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from streamapp.coop.embedding import EmbeddedPictures, Views, embed_pictures
from streamapp.coop.export import Tagger
from streamapp.coop.folding import make_tagger
from streamapp.coop.pictures import LabelledPictures, Numbers, Split, split_pictures
from streamapp.coop.prompts import encode_prompts, tokenize_texts
from streamapp.coop.scoring import Score, score
from streamapp.coop.training import Embedded, Epoch, Recipe, Trained, train
from streamapp.errors import StreamappError
from streamapp.models.clip_network import ClipNetwork

HAND_WRITTEN = ("a photo of a {}.",)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to learn from, and how.

    Attributes:
        shots: training pictures of each class, at most.
        validation_shots: pictures of each class that say when to stop, at most.
        recipe: its seed is also that of the split and of the views.
        views: augmented views of each training picture, see `Views`.
        smallest_crop: see `Views`.
        hand_written: templates with ``{}`` for the class; the mean over them is what CoOp is compared with.
    """

    shots: int = 16
    validation_shots: int = 4
    recipe: Recipe = field(default_factory=Recipe)
    views: int = 8
    smallest_crop: float = 0.4
    hand_written: tuple[str, ...] = HAND_WRITTEN


@dataclass(frozen=True, slots=True)
class Scores:
    """How three sorts of prompts do on the test pictures; without test pictures nothing is counted.

    Attributes:
        learnt: the context that training found.
        started: the context that it began with.
        hand_written: the plan's templates.
    """

    learnt: Score
    started: Score
    hand_written: Score


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What came of a plan.

    Attributes:
        counts: ``training``, ``validation``, ``test`` → pictures of it that could be read.
        unreadable: files that were left out, and why.
        tagger: for the worker.
    """

    plan: Plan
    counts: dict[str, int]
    trained: Trained
    scores: Scores
    unreadable: dict[Path, str]
    tagger: Tagger


class Progress(Protocol):
    """Is told how far an experiment is."""

    def reading(self, pictures: int) -> AbstractContextManager[Callable[[], None]]:
        """So many pictures are about to be read; the function that it gives counts one."""

    def learning(self, epochs: int) -> AbstractContextManager[Callable[[Epoch], None]]:
        """So many epochs are about to begin; the function that it gives takes one."""


def run_experiment(clip: ClipNetwork, pictures: LabelledPictures, plan: Plan, progress: Progress) -> Outcome:
    """Learn prompts for the pictures' classes.

    1. Part the pictures into training, validation and test.
    2. Embed them.
    3. Learn the context.
    4. Test it, what it began with, and the hand-written prompts.

    Raises:
        StreamappError: see `split_pictures`, `embed_pictures` and `train`; or a class has no training picture
            that can be read.
    """
    seed = plan.recipe.seed
    split = split_pictures(  # 1
        pictures.labels, shots=plan.shots, validation_shots=plan.validation_shots, seed=seed
    )
    views = Views(plan.views, plan.smallest_crop, seed)
    training, validation, test = _embed_parts(clip, pictures, split, views, progress)  # 2
    _check_training(training, pictures.classes)
    with progress.learning(plan.recipe.epochs) as on_epoch:  # 3
        trained = train(
            clip.model,
            clip.tokenizer,
            pictures.classes,
            training.embedded,
            validation.embedded,
            plan.recipe,
            on_epoch,
        )
    hand_written = hand_written_weights(clip, pictures.classes, plan.hand_written)
    scores = Scores(  # 4
        learnt=_score(test.embedded, trained.weights),
        started=_score(test.embedded, trained.start_weights),
        hand_written=_score(test.embedded, hand_written),
    )
    parts = {"training": training, "validation": validation, "test": test}
    return Outcome(
        plan=plan,
        counts={name: len(part.embedded.labels) for name, part in parts.items()},
        trained=trained,
        scores=scores,
        unreadable=training.unreadable | validation.unreadable | test.unreadable,
        tagger=make_tagger(clip, pictures.classes, trained.weights),
    )


def hand_written_weights(clip: ClipNetwork, classes: Sequence[str], templates: Sequence[str]) -> Tensor:
    """The mean of each class's sentences, encoded: (C, D) float32 of unit length.

    Args:
        templates: with ``{}`` for the class, in which an underscore stands for a space.

    Raises:
        StreamappError: a sentence is too long for the network.
    """
    device = clip.model.logit_scale.device
    encoded = []
    for template in templates:
        sentences = [template.replace("{}", name.replace("_", " ")) for name in classes]
        with torch.no_grad():
            encoded.append(
                encode_prompts(clip.model, tokenize_texts(clip.tokenizer, sentences).to(device)).float()
            )
    return functional.normalize(torch.stack(encoded).mean(dim=0), dim=-1).cpu()


def _embed_parts(
    clip: ClipNetwork, pictures: LabelledPictures, split: Split, views: Views, progress: Progress
) -> tuple[EmbeddedPictures, EmbeddedPictures, EmbeddedPictures]:
    with progress.reading(len(pictures.files)) as on_picture:

        def embed(numbers: Numbers, views: Views | None) -> EmbeddedPictures:
            files = [pictures.files[number] for number in numbers]
            return embed_pictures(clip, files, pictures.labels[numbers], views, on_picture)

        return embed(split.training, views), embed(split.validation, None), embed(split.test, None)


def _check_training(training: EmbeddedPictures, classes: Sequence[str]) -> None:
    left = set(training.embedded.labels.tolist())
    empty = [name for number, name in enumerate(classes) if number not in left]
    if empty:
        raise StreamappError(f"No training picture of {', '.join(empty)} can be read.")


def _score(pictures: Embedded, weights: Tensor) -> Score:
    """The score of class weights (C, D) on pictures as they are, of which there may be none."""
    if not len(pictures.labels):
        return Score(np.zeros((len(weights), len(weights)), np.int64))
    return score(pictures.vectors[:, 0].numpy(), pictures.labels.numpy(), weights.numpy())
