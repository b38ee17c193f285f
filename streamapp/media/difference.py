"""How different frames look, and the few of many that look most different from each other."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streamapp.media import Frame, Pixels

# What a frame looks like from afar: ``(64, 64, 3)`` uint8.
Look = Pixels

# Of 255. Compression shifts a field of 1/64 of the picture's side by less; nobody sees it.
_SAME_WITHIN = 8


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A rendered frame, and its look."""

    frame: Frame
    look: Look


def is_same(a: Look, b: Look) -> bool:
    """Whether no part of the one differs visibly from the same part of the other."""
    return bool(_distances(a[np.newaxis], b).max() <= _SAME_WITHIN)


class FarthestApart:
    """Holds the first so many different frames; when more come, those that are farthest apart.

    A further frame takes the place of the later one of the two that are nearest to each other, if it is
    farther from all of them. The first frame of all always stays.
    """

    def __init__(self, max_frames: int) -> None:
        self.candidates: list[Candidate] = []
        self.is_overflowed = False
        self._max_frames = max_frames
        self._looks = np.empty((max_frames, 0, 0, 3), np.uint8)
        # Mean differences between the frames that are held; infinite from each one to itself.
        self._apart = np.full((max_frames, max_frames), np.inf)

    def offer(self, look: Look, render: Callable[[], Candidate]) -> None:
        """Consider the next frame; ``render`` is called only if it is held."""
        count = len(self.candidates)
        if not count:
            self._looks = np.empty((self._max_frames, *look.shape), np.uint8)
        distances = _distances(self._looks[:count], look)
        if count and distances.max((1, 2, 3)).min() <= _SAME_WITHIN:
            return
        means = distances.mean((1, 2, 3))
        if count < self._max_frames:
            self.candidates.append(render())
            self._put(count, look, means)
            return
        self.is_overflowed = True
        row, column = divmod(int(self._apart.argmin()), self._max_frames)
        place = max(row, column)
        if place > 0 and np.delete(means, place).min() > self._apart[row, column]:
            self.candidates[place] = render()
            self._put(place, look, means)

    def _put(self, place: int, look: Look, means: npt.NDArray[np.float64]) -> None:
        self._looks[place] = look
        self._apart[place, : len(means)] = self._apart[: len(means), place] = means
        self._apart[place, place] = np.inf


def farthest_from(taken: Sequence[Candidate], others: Sequence[Candidate]) -> Candidate:
    """The one of the others whose nearest among the taken is farthest away."""
    looks = np.stack([candidate.look for candidate in taken])
    return max(others, key=lambda other: float(_distances(looks, other.look).mean((1, 2, 3)).min()))


def _distances(looks: npt.NDArray[np.uint8], look: Look) -> npt.NDArray[np.uint8]:
    """Absolute differences of N looks from one, ``(N, 64, 64, 3)`` uint8."""
    distances: npt.NDArray[np.uint8] = np.maximum(looks, look) - np.minimum(looks, look)
    return distances
