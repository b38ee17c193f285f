"""From a frame to the pixels that a CLIP's image tower looks at: open_clip's own transform, as uint8.

Scaling to [0, 1] and normalisation are left to the device: four times less memory waits in queues.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from streamapp.errors import WeightsError
from streamapp.media import Pixels
from streamapp.models.torch_device import use_threads

_LONGEST_TO_SHORTEST = 8
"""Longer pictures go another, slower way: their whole scaled width would take memory (1x5000 px: 750 MB)."""


@dataclass(frozen=True, slots=True)
class PixelTransform:
    """What a CLIP was trained to look at.

    Attributes:
        side_px: of the square.
        crops: the middle of the picture is taken; else all of it is squeezed into the square.
        interpolation: ``bicubic`` or ``bilinear``, both with antialiasing.
        mean, std: of red, green and blue in [0, 1].
    """

    side_px: int
    crops: bool
    interpolation: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @classmethod
    def from_open_clip(cls, config: Mapping[str, Any]) -> "PixelTransform":
        """Read the ``preprocess_cfg`` of an open_clip image tower.

        Raises:
            WeightsError: the network wants something that is not built here.
        """
        size = config["size"]
        sides = set(size) if isinstance(size, (list, tuple)) else {size}
        is_known = config["resize_mode"] in {"shortest", "squash"} and len(sides) == 1
        if not is_known or config["interpolation"] not in {"bicubic", "bilinear"}:
            raise WeightsError(f"This CLIP wants pictures that streamapp does not make: {dict(config)}.")
        return cls(
            side_px=int(sides.pop()),
            crops=config["resize_mode"] == "shortest",
            interpolation=config["interpolation"],
            mean=tuple(config["mean"]),
            std=tuple(config["std"]),
        )

    def __call__(self, pixels: Pixels) -> Pixels:
        """Scale a frame ``(H, W, 3)`` and take the square ``(side, side, 3)``, both uint8 RGB.

        torch's uint8 kernel gives Pillow's values but for rounding (0.004 of 255 grey levels on average), in
        a tenth of the time. (Pillow 13 scales pictures of more than twice their width in height in the other
        order, which moves 0.2 levels; older ones, and what the weights were trained with, in this one.)
        """
        height, width = pixels.shape[:2]
        shortest = min(height, width)
        if self.crops and max(height, width) > _LONGEST_TO_SHORTEST * shortest:
            return self._crop_first(pixels)
        scaled_height = scaled_width = self.side_px
        if self.crops:
            # Rounded down, as torchvision's Resize does.
            scaled_height, scaled_width = (self.side_px * side // shortest for side in (height, width))
        use_threads(1)
        # torch warns of arrays that can't be written to, though it does not write here.
        own = pixels if pixels.flags.writeable else pixels.copy()
        scaled = functional.interpolate(
            torch.from_numpy(own).permute(2, 0, 1).unsqueeze(0),
            size=(scaled_height, scaled_width),
            mode=self.interpolation,
            antialias=True,
        )
        top, left = self._offset(scaled_height), self._offset(scaled_width)
        square = scaled[0].permute(1, 2, 0)[top : top + self.side_px, left : left + self.side_px]
        result: Pixels = square.contiguous().numpy()
        return result

    def _crop_first(self, pixels: Pixels) -> Pixels:
        """The same by Pillow, which scales only what the square needs."""
        height, width = pixels.shape[:2]
        shortest = min(height, width)
        box = []
        for side in (width, height):
            scaled = self.side_px * side // shortest
            start = self._offset(scaled)
            box.append((start * side / scaled, (start + self.side_px) * side / scaled))
        (left, right), (top, bottom) = box
        method = Image.Resampling.BICUBIC if self.interpolation == "bicubic" else Image.Resampling.BILINEAR
        square = Image.fromarray(pixels).resize(
            (self.side_px, self.side_px), method, box=(left, top, right, bottom)
        )
        return np.asarray(square)

    def _offset(self, scaled: int) -> int:
        """Where the middle begins; half a pixel is rounded to even, as torchvision's CenterCrop does."""
        return round((scaled - self.side_px) / 2)
