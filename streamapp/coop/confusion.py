"""The confusion matrix as a picture."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

_CELL_PX = 30
_MARGIN_PX = 12
_FONT_PX = 13
_HEADING_PX = 48
_LONGEST_NAME = 28

_WHITE, _INK, _FAINT = (255, 255, 255), (30, 34, 40), (222, 226, 232)
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_DARK = np.array([16, 78, 139], np.float64)


def draw_confusion(confusion: npt.NDArray[np.int64], classes: Sequence[str], title: str) -> Image.Image:
    """Draw a matrix of counts: true classes down, predicted classes across, by their numbers.

    A cell is the darker the larger its share of its row; its count stands in it.

    Args:
        confusion: (C, C) counts, true class by row.
        classes: C names.
    """
    font = ImageFont.load_default(_FONT_PX)
    labels = [f"{_shortened(name)}  {number}" for number, name in enumerate(classes, start=1)]
    left = _MARGIN_PX + round(max(font.getlength(label) for label in labels)) + 8
    top = _MARGIN_PX + _HEADING_PX
    side = _CELL_PX * len(classes)
    width = max(left + side, _MARGIN_PX + round(font.getlength(title))) + _MARGIN_PX
    image = Image.new("RGB", (width, top + side + _MARGIN_PX), _WHITE)
    draw = ImageDraw.Draw(image)
    draw.text((_MARGIN_PX, _MARGIN_PX), title, _INK, font)
    for number, label in enumerate(labels):
        middle = number * _CELL_PX + _CELL_PX // 2
        draw.text((left - 8, top + middle), label, _INK, font, anchor="rm")
        draw.text((left + middle, top - 12), str(number + 1), _INK, font, anchor="mm")
    shares = confusion / np.maximum(1, confusion.sum(axis=1, keepdims=True))
    for (row, column), count in np.ndenumerate(confusion):
        x, y = left + column * _CELL_PX, top + row * _CELL_PX
        _draw_cell(draw, (x, y), int(count), float(shares[row, column]), font)
    return image


def _draw_cell(
    draw: ImageDraw.ImageDraw, corner: tuple[int, int], count: int, share: float, font: Font
) -> None:
    x, y = corner
    red, green, blue = (round(value) for value in 255 + share * (_DARK - 255))
    draw.rectangle((x, y, x + _CELL_PX, y + _CELL_PX), fill=(red, green, blue), outline=_FAINT)
    if count:
        ink = _WHITE if share > 0.5 else _INK
        draw.text((x + _CELL_PX / 2, y + _CELL_PX / 2), str(count), ink, font, anchor="mm")


def _shortened(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
