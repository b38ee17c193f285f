"""Batches for training, each made on a second thread while the one before it is learnt from."""

import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch

from training.tiny_clip.augment import Augmenter
from training.tiny_clip.captions import Caption, Captioner
from training.tiny_clip.pictures import Indices, Pictures

_BATCH_TIMEOUT_S = 120


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch; row b of each field is about the same concept.

    Attributes:
        concepts: (B,) int64, all different.
        pictures: (B, 3, side, side) float32 in [0, 1].
        captions: one per picture.
    """

    concepts: torch.Tensor
    pictures: torch.Tensor
    captions: Sequence[Caption]


class Batches:
    """An endless source of batches: every concept once per round, by a drawing chosen at random."""

    def __init__(
        self,
        pictures: Pictures,
        learnt_from: Indices,
        captioner: Captioner,
        augment: Augmenter,
        size: int,
        seed: int,
    ) -> None:
        self._pictures = pictures
        self._captioner = captioner
        self._augment = augment
        self._size = size
        self._rng = random.Random(seed)
        self._drawings: dict[int, list[int]] = {}
        for picture in learnt_from.tolist():
            self._drawings.setdefault(int(pictures.concept[picture]), []).append(picture)
        if len(self._drawings) < size:
            raise ValueError(f"There are {len(self._drawings)} concepts, too few for a batch of {size}.")

    def __iter__(self) -> Iterator[Batch]:
        """Yield batches without end; at most one is made ahead."""
        rounds = self._rounds()
        with ThreadPoolExecutor(1, thread_name_prefix="batches") as thread:
            coming = thread.submit(self._make, next(rounds))
            while True:
                batch = coming.result(timeout=_BATCH_TIMEOUT_S)
                coming = thread.submit(self._make, next(rounds))
                yield batch

    def _rounds(self) -> Iterator[list[int]]:
        """Concepts for one batch after another; the rest of a round that fills no batch is left out."""
        concepts = sorted(self._drawings)
        while True:
            self._rng.shuffle(concepts)
            for start in range(0, len(concepts) - self._size + 1, self._size):
                yield concepts[start : start + self._size]

    def _make(self, concepts: list[int]) -> Batch:
        drawings = [self._rng.choice(self._drawings[concept]) for concept in concepts]
        captions = [self._captioner.draw(concept, self._rng) for concept in concepts]
        with torch.no_grad():
            return Batch(torch.tensor(concepts), self._augment(self._pictures.pixels[drawings]), captions)
