"""The rendered pictures in memory, and which of them may be learnt from."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from training.tiny_clip.sources import ART_SETS, TRAIN_SETS

PICTURES_FILE = "pictures.npz"
SIDE_PX = 96

VALIDATION_SHARE = 0.04
_MIN_STYLES_LEFT = 3
_SPLIT_SEED = 20_261_122

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Pictures:
    """All rendered pictures.

    Attributes:
        pixels: (N, 4, 96, 96) uint8, RGBA, colour premultiplied by alpha.
        concept: (N,) number of the concept that is drawn.
        art: (N,) place of its art set in `ART_SETS`.
    """

    pixels: torch.Tensor
    concept: Indices
    art: Indices

    def of(self, *art_sets: str) -> Indices:
        """The numbers of the pictures of these sets, ascending."""
        return np.flatnonzero(np.isin(self.art, [ART_SETS.index(name) for name in art_sets]))

    def split(self) -> tuple[Indices, Indices]:
        """Part the training art into pictures to learn from and pictures to validate on.

        A validation picture is one drawing of a concept that keeps at least three other drawings, so
        validation asks what the test asks: is this drawing, never seen, known by its name? The split is
        the same for every run. Test art is in neither part.

        Returns:
            numbers of the pictures to learn from, numbers of those to validate on.
        """
        candidates = self.of(*TRAIN_SETS)
        drawings = np.bincount(self.concept[candidates])
        rng = np.random.default_rng(_SPLIT_SEED)
        held: set[int] = set()
        for picture in rng.permutation(candidates):
            if len(held) >= VALIDATION_SHARE * len(candidates):
                break
            if drawings[self.concept[picture]] > _MIN_STYLES_LEFT:
                drawings[self.concept[picture]] = 0  # at most one per concept
                held.add(int(picture))
        validation = np.array(sorted(held), dtype=np.int64)
        return np.setdiff1d(candidates, validation), validation


def load_pictures(data: Path) -> Pictures:
    """Read what ``build`` wrote."""
    with np.load(data / PICTURES_FILE) as stored:
        pixels = torch.from_numpy(stored["pixels"]).permute(0, 3, 1, 2).contiguous()
        return Pictures(pixels, stored["concept"], stored["art"])


def on_colour(pixels: torch.Tensor, colour: tuple[float, float, float]) -> torch.Tensor:
    """Lay premultiplied pictures on a plain background.

    Args:
        pixels: (B, 4, H, W) uint8.
        colour: RGB in [0, 1].

    Returns:
        (B, 3, H, W) float32 in [0, 1].
    """
    unit = pixels.float() / 255
    background = torch.tensor(colour).view(1, 3, 1, 1)
    return (unit[:, :3] + (1 - unit[:, 3:]) * background).clamp_(0, 1)
