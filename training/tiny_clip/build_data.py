"""Render the emoji art to small squares: SVG → premultiplied RGBA, 96 px."""

import io
import json
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import resvg_py
from PIL import Image

from training.tiny_clip.concepts import Concept, key_of, plain, read_concepts, save_concepts
from training.tiny_clip.fetch_data import package_folder
from training.tiny_clip.pictures import PICTURES_FILE, SIDE_PX
from training.tiny_clip.sources import ART_SETS, PACKAGES

_RENDER_SIDE_PX = 160
_PROCESSES = 2

Job = tuple[int, str, str]
"""Number of the concept, art set, SVG text."""


def build(data: Path, say: Callable[[str], None]) -> None:
    """Render every concept of every art set into ``pictures.npz`` and write ``concepts.json``."""
    concepts = read_concepts(data)
    save_concepts(data, concepts)
    jobs = list(_jobs(data, concepts))
    say(f"{len(concepts)} concepts, {len(jobs)} pictures to render")
    with ProcessPoolExecutor(_PROCESSES) as processes:
        rendered = list(processes.map(render, [svg for _, _, svg in jobs], chunksize=64))
    kept = [
        (concept, art, pixels)
        for (concept, art, _), pixels in zip(jobs, rendered, strict=True)
        if pixels is not None
    ]
    np.savez(
        data / PICTURES_FILE,
        pixels=np.stack([pixels for _, _, pixels in kept]),
        concept=np.array([concept for concept, _, _ in kept], dtype=np.int64),
        art=np.array([ART_SETS.index(art) for _, art, _ in kept], dtype=np.int64),
    )
    counts = Counter(art for _, art, _ in kept)
    say(
        ", ".join(f"{art} {counts[art]}" for art in ART_SETS)
        + f"; {len(jobs) - len(kept)} could not be rendered"
    )


def render(svg: str) -> npt.NDArray[np.uint8] | None:
    """Draw one SVG, cropped to its content and centred in a square.

    Returns:
        (96, 96, 4) uint8, colour premultiplied by alpha; None where nothing is drawn.
    """
    try:
        png = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=_RENDER_SIDE_PX))
    except ValueError:
        return None
    picture = Image.open(io.BytesIO(png)).convert("RGBA")
    box = picture.getchannel("A").getbbox()
    if box is None:
        return None
    picture = picture.crop(box)
    side = max(picture.size)
    square = Image.new("RGBA", (side, side))
    square.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    small = square.convert("RGBa").resize((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS)
    return np.frombuffer(small.tobytes(), np.uint8).reshape(SIDE_PX, SIDE_PX, 4)


def _jobs(data: Path, concepts: list[Concept]) -> Iterator[Job]:
    folders = {package.key: package_folder(data, package) for package in PACKAGES}
    noto_names: Mapping[str, str] = json.loads((folders["noto"] / "chars.json").read_text())
    art = {
        "fluent-flat": _files_by_hexcode(folders["fluent-flat"] / "assets"),
        "fluent-modern": _files_by_name(folders["fluent-modern"] / "icons" / "modern"),
        "twemoji": _files_by_hexcode(folders["twemoji"]),
        "openmoji": _files_by_hexcode(folders["openmoji"] / "color" / "svg"),
        **{key: _icons(folders[key] / "icons.json") for key in ("noto", "noto-v1", "emojione", "fxemoji")},
    }
    for number, concept in enumerate(concepts):
        names = _names(concept, noto_names)
        for key in ART_SETS:
            found = next((art[key][name] for name in names if name in art[key]), None)
            if found is not None:
                yield number, key, found.read_text(encoding="utf-8") if isinstance(found, Path) else found


def _names(concept: Concept, noto_names: Mapping[str, str]) -> list[str]:
    """What the sets call this emoji, surest first: code points, names with hyphens, names run together."""
    hexcode = key_of(concept.hexcode)
    slugs = [_slug(concept.label)]
    if hexcode in noto_names:
        slugs.append(noto_names[hexcode])
    characters = concept.emoji.replace("\ufe0f", "")
    if len(characters) == 1:
        slugs.append(_slug(unicodedata.name(characters, "")))
    slugs = [slug for slug in dict.fromkeys(slugs) if slug]
    return [
        hexcode,
        *slugs,
        *(f"{slug}-default" for slug in slugs),
        *(slug.replace("-", "") for slug in slugs),
    ]


def _slug(name: str) -> str:
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return plain(ascii_name).replace(" ", "-")


def _files_by_hexcode(folder: Path) -> dict[str, Path | str]:
    return {key_of(path.stem): path for path in sorted(folder.glob("*.svg"))}


def _files_by_name(folder: Path) -> dict[str, Path | str]:
    return {path.stem: path for path in sorted(folder.glob("*.svg"))}


def _icons(path: Path) -> dict[str, Path | str]:
    """The SVG of every icon and alias of an Iconify set."""
    icon_set: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    icons: Mapping[str, Mapping[str, Any]] = icon_set["icons"]
    aliases: Mapping[str, Mapping[str, Any]] = icon_set.get("aliases", {})
    width, height = icon_set.get("width", 16), icon_set.get("height", 16)

    def svg(name: str) -> str:
        while name not in icons:
            name = aliases[name]["parent"]
        icon = icons[name]
        corner = f"{icon.get('left', 0)} {icon.get('top', 0)}"
        size = f"{icon.get('width', width)} {icon.get('height', height)}"
        return (
            '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
            f'viewBox="{corner} {size}">{icon["body"]}</svg>'
        )

    return {name: svg(name) for name in (*icons, *aliases)}
