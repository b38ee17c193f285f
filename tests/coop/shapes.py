"""Pictures that are drawn: six kinds of shapes, on coloured grounds, under names that mean nothing."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

CODES = {
    "circle": "qx7v",
    "square": "zk3p",
    "triangle": "wj9f",
    "cross": "vb2h",
    "ring": "xq5d",
    "stripes": "jw8n",
}
_SIDE_PX = 72


def draw_folders(folder: Path, each: int, seed: int = 0) -> Path:
    """A folder for each code with so many pictures of its shape."""
    rng = np.random.default_rng(seed)
    for shape, code in CODES.items():
        (folder / code).mkdir(parents=True)
        for number in range(each):
            _draw(shape, rng).save(folder / code / f"{number:03}.png")
    return folder


def _draw(shape: str, rng: np.random.Generator) -> Image.Image:
    ground, ink = (tuple(int(v) for v in rng.integers(low, low + 100, 3)) for low in (150, 0))
    image = Image.new("RGB", (_SIDE_PX, _SIDE_PX), ground)
    draw = ImageDraw.Draw(image)
    size = int(rng.integers(16, 26))
    x, y = (int(v) for v in rng.integers(28, 44, 2))
    box = (x - size, y - size, x + size, y + size)
    if shape == "circle":
        draw.ellipse(box, fill=ink)
    elif shape == "square":
        draw.rectangle(box, fill=ink)
    elif shape == "triangle":
        draw.polygon([(x, y - size), (x - size, y + size), (x + size, y + size)], fill=ink)
    elif shape == "cross":
        draw.line((x - size, y, x + size, y), fill=ink, width=9)
        draw.line((x, y - size, x, y + size), fill=ink, width=9)
    elif shape == "ring":
        draw.ellipse(box, outline=ink, width=6)
    else:
        for offset in range(-size, size, 10):
            draw.line((x - size, y + offset, x + size, y + offset), fill=ink, width=4)
    return image
