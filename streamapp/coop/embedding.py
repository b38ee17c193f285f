"""Pictures through the frozen image tower, once: what training and tests then work on.

The tower never changes, so an augmented picture's embedding does not either. Each training picture gets a
few augmented views, embedded before the first epoch, and every epoch draws one of them. To augment anew in
each epoch would cost `epochs / views` times as much of what is by far the dearest part.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from streamapp.coop.pictures import Numbers
from streamapp.coop.training import Embedded
from streamapp.errors import MediaError, StreamappError
from streamapp.media import Pixels
from streamapp.media.decode import Limits, decode
from streamapp.models.clip_network import ClipNetwork
from streamapp.models.clip_pixels import PixelTransform

log = logging.getLogger(__name__)

_FILES_AT_ONCE = 16  # decoded before they are embedded: bounds the memory
_SQUARES_AT_ONCE = 32
_DECODE_THREADS = 2
_WIDEST = 4 / 3  # of a random crop, width by height; its inverse is the narrowest


@dataclass(frozen=True, slots=True)
class Views:
    """How a training picture is augmented: random crops, scaled to the square, half of them mirrored.

    Attributes:
        count: augmented views of each picture, besides the picture as it is.
        smallest_crop: share of the picture's area that a crop keeps at least, in (0, 1].
        seed: of the crops; a file's place in the list decides its crops.
    """

    count: int = 8
    smallest_crop: float = 0.4
    seed: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedPictures:
    """What became of some files.

    Attributes:
        embedded: those that could be decoded.
        unreadable: the others, and why.
    """

    embedded: Embedded
    unreadable: dict[Path, str]


def embed_pictures(
    clip: ClipNetwork,
    files: Sequence[Path],
    labels: Numbers,
    views: Views | None = None,
    on_picture: Callable[[], None] = lambda: None,
) -> EmbeddedPictures:
    """Decode files as the worker does, and embed their first key frame.

    Args:
        labels: (N,) the files' classes.
        views: how to augment; None: each file as it is, one view.
        on_picture: called when a file has been looked at.

    Raises:
        StreamappError: none of the files can be decoded.
    """
    lots: list[Tensor] = []
    kept: list[int] = []
    unreadable: dict[Path, str] = {}
    for lot in _read_lots(clip.transform, files, views):
        for number, squares in lot:
            if isinstance(squares, str):
                log.warning("%s is left out, it can't be read: %s", files[number], squares)
                unreadable[files[number]] = squares
            else:
                kept.append(number)
            on_picture()
        readable = [squares for _, squares in lot if not isinstance(squares, str)]
        if readable:
            embedded = embed_squares(clip, list(chain.from_iterable(readable)))
            lots.append(embedded.view(len(readable), -1, embedded.shape[-1]))
    if files and not kept:
        raise StreamappError(f"None of {len(files)} pictures can be read, such as {files[0]}.")
    vectors = torch.cat(lots) if lots else torch.empty(0, 1, 0)
    return EmbeddedPictures(Embedded(vectors, torch.from_numpy(labels[kept])), unreadable)


@torch.no_grad()
def embed_squares(clip: ClipNetwork, squares: Sequence[Pixels]) -> Tensor:
    """Embed what a `PixelTransform` makes.

    Args:
        squares: each (side, side, 3) uint8.

    Returns:
        (N, D) float32 of unit length, on the CPU.
    """
    device = clip.model.logit_scale.device
    mean, std = (
        torch.tensor(values, device=device).view(3, 1, 1)
        for values in (clip.transform.mean, clip.transform.std)
    )
    lots = []
    for start in range(0, len(squares), _SQUARES_AT_ONCE):
        stacked = torch.from_numpy(np.stack(squares[start : start + _SQUARES_AT_ONCE])).to(device)
        unit = stacked.permute(0, 3, 1, 2).float() / 255
        embedded: Tensor = clip.model.encode_image((unit - mean) / std)
        lots.append(functional.normalize(embedded.float(), dim=-1).cpu())
    return torch.cat(lots)


def picture_views(
    transform: PixelTransform, pixels: Pixels, views: Views | None, number: int
) -> list[Pixels]:
    """A picture (H, W, 3) uint8 as the worker would see it, then its augmented views: (side, side, 3) each.

    Args:
        number: of the picture; with the seed it decides the crops.
    """
    squares = [transform(pixels)]
    if views is not None:
        rng = np.random.default_rng([views.seed, number])
        side_px = transform.side_px
        squares += [random_crop(pixels, side_px, views.smallest_crop, rng) for _ in range(views.count)]
    return squares


def random_crop(pixels: Pixels, side_px: int, smallest_crop: float, rng: np.random.Generator) -> Pixels:
    """A random part of a picture, scaled to a square and perhaps mirrored.

    Args:
        pixels: (H, W, 3) uint8.
        smallest_crop: share of the area, in (0, 1].

    Returns:
        (side, side, 3) uint8.
    """
    height, width = pixels.shape[:2]
    area = rng.uniform(smallest_crop, 1.0) * height * width
    shape = np.exp(rng.uniform(-np.log(_WIDEST), np.log(_WIDEST)))
    crop_width, crop_height = min(width, np.sqrt(area * shape)), min(height, np.sqrt(area / shape))
    left, top = rng.uniform(0, width - crop_width), rng.uniform(0, height - crop_height)
    square = Image.fromarray(pixels).resize(
        (side_px, side_px),
        Image.Resampling.BICUBIC,
        box=(left, top, min(width, left + crop_width), min(height, top + crop_height)),
    )
    cropped = np.asarray(square)
    return np.ascontiguousarray(cropped[:, ::-1]) if rng.random() < 0.5 else cropped


def _read_lots(
    transform: PixelTransform, files: Sequence[Path], views: Views | None
) -> Iterator[list[tuple[int, list[Pixels] | str]]]:
    """The files by number, a few at a time, each with what `_squares` makes of it."""
    with ThreadPoolExecutor(_DECODE_THREADS) as threads:
        for start in range(0, len(files), _FILES_AT_ONCE):
            numbers = range(start, min(start + _FILES_AT_ONCE, len(files)))
            read = threads.map(lambda number: _squares(transform, files[number], views, number), numbers)
            yield list(zip(numbers, read, strict=True))


def _squares(transform: PixelTransform, file: Path, views: Views | None, number: int) -> list[Pixels] | str:
    """The views of a file; or why it can't be read."""
    try:
        pixels = decode(file.read_bytes(), Limits()).frames[0].pixels
    except (MediaError, OSError) as exc:
        return str(exc)
    return picture_views(transform, pixels, views, number)
