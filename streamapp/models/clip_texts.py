"""Encoded texts on disk, so that a worker's start does not encode them again: that takes seconds of CPU."""

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from streamapp.models.clip_network import Vectors

logger = logging.getLogger(__name__)

_FORMAT = 1  # raised when what is computed from the same key changes
_NAME = "vectors"


class TextCache:
    """Matrices of encoded texts by what they were computed from.

    Args:
        folder: of the files; made when the first is written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.expanduser()

    def vectors(self, origin: Mapping[str, Any], encode: Callable[[], Vectors]) -> Vectors:
        """The matrix computed from this origin, read if it is there, else encoded and written.

        A file that can't be read is written anew; a folder that can't be written to costs the next start
        the time again, and a warning.

        Args:
            origin: everything that the matrix depends on as JSON values: digests of weights, all texts.

        Returns:
            ``(N, D)`` float32.
        """
        key = json.dumps({"format": _FORMAT, **origin}, sort_keys=True, ensure_ascii=False)
        path = self._folder / f"{hashlib.sha256(key.encode()).hexdigest()}.safetensors"
        cached = _read(path)
        if cached is not None:
            return cached
        encoded = encode()
        try:
            _write(path, encoded)
        except OSError as exc:
            logger.warning("Encoded texts can't be kept at %s (%s): the next start encodes again.", path, exc)
        return encoded


def _read(path: Path) -> Vectors | None:
    try:
        vectors = load(path.read_bytes())[_NAME]
    except (OSError, SafetensorError, KeyError):
        return None
    is_sound = vectors.ndim == 2 and vectors.dtype == np.float32 and bool(np.isfinite(vectors).all())
    return vectors if is_sound else None


def _write(path: Path, vectors: Vectors) -> None:
    """The file appears whole or not at all, however many workers start at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.stem, suffix=".part", delete=False) as part:
        try:
            part.write(save({_NAME: np.ascontiguousarray(vectors)}))
            part.close()
            os.replace(part.name, path)
        except BaseException:
            os.unlink(part.name)
            raise
