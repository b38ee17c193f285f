"""The squares that CLIP looks at, against open_clip's own transform."""

import numpy as np
import open_clip
import pytest
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

from streamapp.errors import WeightsError
from streamapp.media import Pixels
from streamapp.models.clip_pixels import PixelTransform

SIZES = [
    *((224, 224), (225, 224), (223, 301), (640, 480), (481, 640), (333, 997), (1080, 1080), (1280, 853)),
    *((100, 77), (64, 64), (17, 31), (7, 5), (3, 3), (2, 1), (1, 1), (720, 1279), (1279, 401), (301, 1024)),
    *((1024, 151), (90, 640)),
]

OPENAI = {"size": 224, "interpolation": "bicubic", "resize_mode": "shortest"} | {
    "mean": open_clip.OPENAI_DATASET_MEAN,
    "std": open_clip.OPENAI_DATASET_STD,
}


def picture(height: int, width: int) -> Pixels:
    """Shapes and noise: neither smooth nor only noise, for both hide differences of interpolation."""
    generator = np.random.default_rng(height * 10_000 + width)
    cells = generator.integers(0, 256, (height // 16 + 1, width // 16 + 1, 3), np.uint8)
    shapes = cells.repeat(16, 0).repeat(16, 1)[:height, :width].astype(np.int16)
    noisy = shapes + generator.integers(-20, 20, shapes.shape, np.int16)
    return noisy.clip(0, 255).astype(np.uint8)


def normalised(square: Pixels, transform: PixelTransform) -> np.ndarray:
    scaled = square.astype(np.float32) / 255
    return ((scaled - np.float32(transform.mean)) / np.float32(transform.std)).transpose(2, 0, 1)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize(
    "config",
    [
        OPENAI,
        OPENAI
        | {"resize_mode": "squash", "interpolation": "bilinear", "mean": (0.5,) * 3, "std": (0.5,) * 3},
    ],
    ids=["openai", "siglip"],
)
def test_it_equals_open_clips_transform(size: tuple[int, int], config: dict[str, object]) -> None:
    transform = PixelTransform.from_open_clip(config)
    pixels = picture(*size)

    expected = image_transform_v2(PreprocessCfg(**config), is_train=False)(Image.fromarray(pixels)).numpy()

    difference = np.abs(normalised(transform(pixels), transform) - expected)
    assert difference.mean() <= 1 / 255
    # A level or two of rounding: a shift by a pixel could pass the mean alone. Pillow 13 scales what is more
    # than twice as high as wide vertically first, which moves single pixels of hard edges.
    if size[0] <= 2 * size[1]:
        assert difference.max() <= 2.5 / 255 / min(transform.std)


@pytest.mark.parametrize("size", [(1, 5000), (5000, 1), (3, 1280), (1280, 10)], ids=str)
def test_a_strip_of_a_picture_takes_the_way_of_little_memory(size: tuple[int, int]) -> None:
    transform = PixelTransform.from_open_clip(OPENAI)
    height, width = size
    pixels = picture(height, width)

    square = transform(pixels)

    # What the middle of the strip shows, cut out by hand with a margin for the filter.
    middle = max(height, width) // 2
    keep = slice(middle - 3 * min(size), middle + 3 * min(size) + max(size) % 2)
    strip = pixels[keep] if height > width else pixels[:, keep]
    expected = transform(np.ascontiguousarray(strip))
    assert square.shape == (224, 224, 3)
    assert np.abs(square.astype(int) - expected).mean() <= 1


def test_pixels_that_can_not_be_written_to_are_taken() -> None:
    pixels = picture(300, 200)
    pixels.flags.writeable = False

    assert PixelTransform.from_open_clip(OPENAI)(pixels).shape == (224, 224, 3)


@pytest.mark.parametrize(
    "odd", [{"resize_mode": "longest"}, {"size": (224, 336)}, {"interpolation": "random"}]
)
def test_a_network_that_wants_other_pictures_is_refused(odd: dict[str, object]) -> None:
    with pytest.raises(WeightsError, match="wants pictures that streamapp does not make"):
        PixelTransform.from_open_clip(OPENAI | odd)
