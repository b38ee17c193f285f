"""How good a matrix of class weights is on pictures with known classes (pure)."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Score:
    """What was predicted for a set of pictures.

    Attributes:
        confusion: (C, C) int64, pictures by true class (row) and predicted class (column).
    """

    confusion: npt.NDArray[np.int64]

    @property
    def pictures(self) -> int:
        """How many pictures were looked at."""
        return int(self.confusion.sum())

    @property
    def accuracy(self) -> float:
        """The share of the pictures that get their class, in [0, 1]; 0 without pictures."""
        return float(np.trace(self.confusion)) / max(1, self.pictures)

    @property
    def class_accuracy(self) -> tuple[float | None, ...]:
        """The same for each class; None where it has no picture."""
        counts = self.confusion.sum(axis=1)
        right = np.diagonal(self.confusion)
        return tuple(float(r / n) if n else None for r, n in zip(right, counts, strict=True))

    @property
    def balanced_accuracy(self) -> float:
        """The mean over the classes that have pictures: a large class counts no more; 0 without any."""
        known = [share for share in self.class_accuracy if share is not None]
        return sum(known) / max(1, len(known))


def score(
    vectors: Vectors, labels: Labels, weights: Vectors, scale: float = 1.0, bias: Vectors | None = None
) -> Score:
    """Predict the class of each picture and count.

    Args:
        vectors: (N, D) embeddings.
        labels: (N,) their classes' numbers.
        weights: (C, D), a class each.
        scale, bias: of the logits; a bias is (C,).
    """
    classes = len(weights)
    logits = scale * (vectors @ weights.T) + (0.0 if bias is None else bias)
    predicted = logits.argmax(axis=1)
    cells = np.bincount(labels * classes + predicted, minlength=classes * classes)
    return Score(cells.reshape(classes, classes).astype(np.int64))
