"""Make each drawing new every time: place it, recolour it, lay it on a background, spoil it a little."""

import math
from collections.abc import Iterator

import torch
from torch.nn import functional

BACKGROUNDS = 4096
_CHUNK = 256
_OCTAVES = ((2, 1.0), (4, 0.6), (8, 0.4), (16, 0.25), (32, 0.15))
_GREY_SHARE, _BLUR_SHARE, _NOISE_SHARE, _RECOLOUR_SHARE, _MIRROR_SHARE = 0.06, 0.15, 0.4, 0.5, 0.3


class Augmenter:
    """Turns stored drawings into training pictures.

    Used by one thread. Its backgrounds are made once, because making them anew costs more than all else.
    """

    def __init__(
        self, drawings: torch.Tensor, side_px: int, seed: int, backgrounds: int = BACKGROUNDS
    ) -> None:
        """Make the backgrounds.

        Args:
            drawings: (N, 4, H, W) uint8 premultiplied RGBA; blurred, some become backgrounds.
            side_px: of the pictures to make.
            seed: of everything that is drawn at random.
            backgrounds: how many to make, 12 kB each at 64 px.
        """
        self._side_px = side_px
        self._generator = torch.Generator().manual_seed(seed)
        self._backgrounds = torch.cat(
            [
                (self._make_backgrounds(drawings[self._whole(len(drawings), count)]) * 255).byte()
                for count in _chunks(backgrounds)
            ]
        )

    def __call__(self, drawings: torch.Tensor) -> torch.Tensor:
        """Augment a batch.

        The steps: 1. place; 2. recolour; 3. lay on a background; 4. spoil.

        Args:
            drawings: (B, 4, H, W) uint8 premultiplied RGBA.

        Returns:
            (B, 3, side, side) float32 in [0, 1].
        """
        # 1. Place: the second half small, from drawings halved first, so that shrinking does not alias.
        unit = drawings.float() / 255
        half = len(unit) // 2
        large = self._placed(unit[:half], 0.75, 1.1)
        small = self._placed(functional.avg_pool2d(unit[half:], 2), 0.5, 0.85)
        placed = torch.cat([large, small])
        # 2. Recolour.
        alpha = placed[:, 3:]
        colour = self._recoloured(placed)
        # 3. Lay on a background.
        background = self._backgrounds[self._whole(len(self._backgrounds), len(colour))].float() / 255
        pictures = colour + (1 - alpha) * background
        # 4. Spoil.
        return self._spoilt(pictures).clamp_(0, 1)

    def _uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> torch.Tensor:
        return torch.rand(*shape, generator=self._generator) * (high - low) + low

    def _normal(self, *shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=self._generator)

    def _whole(self, below: int, count: int) -> torch.Tensor:
        return torch.randint(0, below, (count,), generator=self._generator)

    def _placed(self, drawings: torch.Tensor, smallest: float, largest: float) -> torch.Tensor:
        """Scale (1 fills the picture), stretch, turn, mirror and shift each drawing.

        Args:
            drawings: (B, 4, H, W) float32.

        Returns:
            (B, 4, side, side) float32, premultiplied; transparent outside the drawing.
        """
        count = len(drawings)
        scale = self._uniform(count, low=smallest, high=largest)
        stretch = self._uniform(count, low=-0.15, high=0.15).exp()
        angle = self._normal(count).clamp(-2, 2) * 0.12
        mirror = torch.where(self._uniform(count) < _MIRROR_SHARE, -1.0, 1.0)
        per_x, per_y = mirror / (scale * stretch), stretch / scale
        shift = self._uniform(2, count, low=-1, high=1) * ((1 - scale).abs() + 0.1) / scale
        to_source = torch.stack(
            [
                torch.stack([angle.cos() * per_x, -angle.sin() * per_x, shift[0]], 1),
                torch.stack([angle.sin() * per_y, angle.cos() * per_y, shift[1]], 1),
            ],
            1,
        )
        grid = functional.affine_grid(
            to_source, [count, 4, self._side_px, self._side_px], align_corners=False
        )
        return functional.grid_sample(drawings, grid, padding_mode="zeros", align_corners=False)

    def _recoloured(self, placed: torch.Tensor) -> torch.Tensor:
        """Change saturation, contrast, brightness and tint of the drawing alone.

        All four are linear, so they are one (3, 4) matrix on (R, G, B, alpha): premultiplied colour has
        alpha where plain colour has the constant 1.

        Args:
            placed: (B, 4, S, S) float32 premultiplied.

        Returns:
            (B, 3, S, S) float32 premultiplied.
        """
        count, side = len(placed), placed.shape[-1]
        saturation = self._uniform(count, 1, 1, low=0.4, high=1.5)
        contrast = self._uniform(count, 1, 1, low=0.7, high=1.3)
        brightness = self._uniform(count, 1, 1, low=-0.12, high=0.12)
        tint = 1 + 0.12 * self._normal(count, 3, 1)
        mix = saturation * torch.eye(3) + (1 - saturation) / 3
        matrix = torch.cat([tint * contrast * mix, tint * (0.5 - 0.5 * contrast + brightness)], 2)
        is_changed = self._uniform(count, 1, 1) < _RECOLOUR_SHARE
        matrix = torch.where(is_changed, matrix, torch.eye(3, 4))
        return (matrix @ placed.flatten(2)).view(count, 3, side, side).clamp_(0, 1)

    def _spoilt(self, pictures: torch.Tensor) -> torch.Tensor:
        """Make some grey, some blurred, some noisy; in place."""
        count, side = len(pictures), pictures.shape[-1]
        grey = self._uniform(count) < _GREY_SHARE
        pictures[grey] = pictures[grey].mean(1, keepdim=True).expand(-1, 3, -1, -1)
        blurred = self._uniform(count) < _BLUR_SHARE
        pictures[blurred] = functional.avg_pool2d(pictures[blurred], 3, 1, 1)
        noisy = self._uniform(count) < _NOISE_SHARE
        noisy_count = int(noisy.sum())
        strength = self._uniform(noisy_count, 1, 1, 1, high=0.06)
        pictures[noisy] += self._normal(noisy_count, 3, side, side) * strength
        return pictures

    def _make_backgrounds(self, drawings: torch.Tensor) -> torch.Tensor:
        """Plain, near-white, gradient, cloudy (twice as often) or another drawing out of focus.

        Args:
            drawings: (B, 4, H, W) uint8 premultiplied RGBA.

        Returns:
            (B, 3, side, side) float32 in [0, 1].
        """
        count, side = len(drawings), self._side_px
        plain = self._uniform(count, 3, 1, 1).expand(count, 3, side, side)
        near_white = 1 - 0.1 * self._uniform(count, 1, 1, 1).expand(count, 3, side, side)
        gradient = functional.interpolate(
            self._uniform(count, 3, 2, 2), size=side, mode="bilinear", align_corners=True
        )
        cloudy = self._cloudy(count)
        specks = functional.interpolate(drawings.float() / 255, size=10, mode="area")
        blurred = functional.interpolate(specks, size=side, mode="bilinear")
        behind = self._uniform(count, 3, 1, 1)
        out_of_focus = blurred[:, :3] + (1 - blurred[:, 3:]) * behind
        kinds = torch.stack([plain, plain, near_white, gradient, cloudy, cloudy, out_of_focus])
        return kinds[self._whole(len(kinds), count), torch.arange(count)].clamp(0, 1)

    def _cloudy(self, count: int) -> torch.Tensor:
        """Noise of several scales in one or more tints, such as foliage or walls far off."""
        layers = [
            functional.interpolate(self._normal(count, 3, cells, cells), size=self._side_px, mode="bilinear")
            * weight
            for cells, weight in _OCTAVES
        ]
        clouds = torch.stack(layers).sum(0) / math.sqrt(sum(weight**2 for _, weight in _OCTAVES))
        strength = self._uniform(count, 1, 1, 1, low=0.1, high=0.4)
        tint = self._uniform(count, 3, 1, 1, low=-0.2, high=0.2)
        return 0.5 + clouds * strength + tint


def _chunks(total: int) -> Iterator[int]:
    """Sizes that add up to the total, none so large that its pictures fill the memory."""
    for done in range(0, total, _CHUNK):
        yield min(_CHUNK, total - done)
