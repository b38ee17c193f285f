"""Model files: where they are, and that they are the ones expected."""

import hashlib
import os
import time
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from streamapp.errors import WeightsError


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """A model's file whose digest is known.

    Attributes:
        path: absolute.
        sha256: hex digest of the file's bytes.
    """

    path: Path
    sha256: str


SETTLED_AFTER_S = 2.0
"""A file system's times are coarse: only of a file that is older can the next change be seen by them."""


def sha256_of(path: Path) -> str:
    """The hex digest of a file's bytes; a file that stays as it is is hashed once in a process.

    Raises:
        OSError: it can't be read.
    """
    found = path.stat()
    if time.time() - found.st_ctime < SETTLED_AFTER_S:
        return _hash(path)
    return _hash_once(path, _identity(found))


def _identity(found: os.stat_result) -> tuple[int, ...]:
    """Changes with the file's content, as far as the file system's clock can tell."""
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


@lru_cache(maxsize=32)
def _hash_once(path: Path, identity: tuple[int, ...]) -> str:
    return _hash(path)


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def require_file(path: Path, *, what: str, how_to_get: str, expected_sha256: str | None) -> WeightsFile:
    """Make sure that a model's file is there and is the expected one.

    Args:
        path: where it is looked for.
        what: the file in words, ``NudeNet's weights 320n.onnx``.
        how_to_get: the setting or command that mends it, as an imperative without a full stop.
        expected_sha256: hex digest; None takes any file, for a path that the user gave: whoever names
            a file vouches for it, and its digest goes into PROVENANCE instead.

    Raises:
        WeightsError: the file is missing, can't be read or has another digest.
    """
    path = path.absolute()
    try:
        found_sha256 = sha256_of(path)
    except FileNotFoundError as exc:
        raise WeightsError(f"{what} is missing, it was looked for at {path}: {how_to_get}.") from exc
    except OSError as exc:
        raise WeightsError(f"{what} at {path} can't be read ({exc.strerror}): {how_to_get}.") from exc
    if expected_sha256 is not None and found_sha256 != expected_sha256:
        raise WeightsError(
            f"{what} at {path} is another file, its SHA-256 is {found_sha256} "
            f"and not {expected_sha256}: {how_to_get}."
        )
    return WeightsFile(path, found_sha256)


def package_file(package: str, name: str, *, how_to_get: str) -> Path:
    """Where a file of an installed package stands; the package is not imported, the file not opened.

    Args:
        package: a top-level package.
        name: the file's path inside it.
        how_to_get: as in `require_file`.

    Raises:
        WeightsError: the package is not installed.
    """
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise WeightsError(f"{name} is in the package {package}, which is not installed: {how_to_get}.")
    return Path(spec.submodule_search_locations[0]) / name
