"""A tagger as one safetensors file: what the worker needs of a training, and nothing that is run.

The file holds the tensors ``weights`` (C, D), ``bias`` (C,) and ``scale`` (), float32, and in its header the
classes in the order of the rows, and the name and digest of the CLIP whose embeddings they fit.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from streamapp.errors import WeightsError

_FORMAT = "streamapp-tagger-1"


@dataclass(frozen=True, slots=True, eq=False)
class Tagger:
    """One matrix product on CLIP's embedding: logits = scale x (embedding · weights) + bias.

    Attributes:
        classes: by number.
        weights: (C, D) float32, rows of unit length.
        bias: (C,) float32.
        scale: what the cosines are multiplied by before the softmax.
        clip_name: of the network, as open_clip knows it.
        clip_sha256: hex digest of the network's weights file.
    """

    classes: tuple[str, ...]
    weights: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]
    scale: float
    clip_name: str
    clip_sha256: str


def save_tagger(path: Path, tagger: Tagger) -> None:
    """Write a tagger; the file is the old one or the new one, never half of one.

    Raises:
        OSError: it can't be written.
    """
    header = {
        "format": _FORMAT,
        "classes": json.dumps(tagger.classes, ensure_ascii=False),
        "clip_name": tagger.clip_name,
        "clip_sha256": tagger.clip_sha256,
    }
    tensors = {
        "weights": np.ascontiguousarray(tagger.weights, np.float32),
        "bias": np.ascontiguousarray(tagger.bias, np.float32),
        "scale": np.array(tagger.scale, np.float32),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    try:
        part.write_bytes(save(tensors, header))
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def load_tagger(path: Path) -> Tagger:
    """Read what `save_tagger` wrote.

    Raises:
        WeightsError: the file is missing, is no such file, or its parts do not fit each other.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (OSError, SafetensorError) as exc:
        raise WeightsError(f"The tagger {path} can't be read: {exc}") from exc
    try:
        if header["format"] != _FORMAT:
            raise ValueError(f"the format {header['format']!r}")
        classes = json.loads(header["classes"])
        if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
            raise ValueError("classes that are no list of names")
        tagger = Tagger(
            classes=tuple(classes),
            weights=tensors["weights"].astype(np.float32),
            bias=tensors["bias"].astype(np.float32),
            scale=float(tensors["scale"]),
            clip_name=header["clip_name"],
            clip_sha256=header["clip_sha256"],
        )
    except (KeyError, ValueError, TypeError) as exc:
        raise WeightsError(
            f"{path} is no tagger of streamapp's ({exc}): `streamapp coop train` or `convert` makes one."
        ) from exc
    _check_numbers(path, tagger)
    return tagger


def _check_numbers(path: Path, tagger: Tagger) -> None:
    count = len(tagger.classes)
    if tagger.weights.ndim != 2 or len(tagger.weights) != count or tagger.bias.shape != (count,):
        raise WeightsError(
            f"The tagger {path} names {count} classes, but its weights are {tagger.weights.shape} and its "
            f"bias {tagger.bias.shape}."
        )
    if not all(np.isfinite(numbers).all() for numbers in (tagger.weights, tagger.bias, tagger.scale)):
        raise WeightsError(f"The tagger {path} holds numbers that are not finite.")
