"""Labelled pictures: a folder for each class, or a CSV; and their parting into shots, validation and test."""

import csv
import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import numpy as np
import numpy.typing as npt

from streamapp.errors import StreamappError

log = logging.getLogger(__name__)

Numbers = npt.NDArray[np.int64]

# A class with few pictures spends no more than a quarter on validation, so that some are left to test on.
_VALIDATION_PART = 4
_CSV_COLUMNS = ["path", "class"]


@dataclass(frozen=True, slots=True, eq=False)
class LabelledPictures:
    """Files whose class is known.

    Attributes:
        classes: by number.
        files: (N,) pictures, in an order that does not depend on the file system.
        labels: (N,) their classes' numbers.
    """

    classes: tuple[str, ...]
    files: tuple[Path, ...]
    labels: Numbers


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Numbers of pictures, in three parts that share none; each part has the classes in their order."""

    training: Numbers
    validation: Numbers
    test: Numbers


def read_pictures(source: Path, order: Sequence[str] = ()) -> LabelledPictures:
    """Find the pictures and their classes; a file that is there twice counts once.

    Args:
        source: a folder with a folder for each class, or a CSV with the columns ``path`` and ``class``,
            whose paths may be relative to it. Hidden files are left out.
        order: of the classes, as far as they are named in it; the others follow, sorted.

    Raises:
        StreamappError: there is no such thing, it names fewer than two classes or a file that is not there,
            or one file has two classes.
    """
    if source.is_dir():
        found = list(_in_folders(source))
    elif source.is_file():
        found = list(_in_csv(source))
    else:
        raise StreamappError(f"{source} is neither a folder nor a CSV file.")
    ranks = {name: rank for rank, name in enumerate(order)}
    classes = tuple(sorted({name for _, name in found}, key=lambda name: (ranks.get(name, len(ranks)), name)))
    if len(classes) < 2:
        raise StreamappError(f"{source} has pictures of {len(classes)} classes; at least 2 are needed.")
    single = _without_doubles(found)
    numbers = {name: number for number, name in enumerate(classes)}
    labels = np.array([numbers[name] for _, name in single], np.int64)
    return LabelledPictures(classes, tuple(file for file, _ in single), labels)


def split_pictures(labels: Numbers, *, shots: int, validation_shots: int, seed: int) -> Split:
    """Draw the shots of each class, then its validation pictures; the rest is for the test.

    A class too small for that gives up to a quarter of its pictures to validation, at least one, and then
    its shots, at most two thirds of what is left.

    Raises:
        StreamappError: a class has fewer than 2 pictures.
    """
    rng = np.random.default_rng(seed)
    training, validation, test = [], [], []
    for number in range(int(labels.max()) + 1):
        pictures = rng.permutation(np.flatnonzero(labels == number))
        if len(pictures) < 2:
            raise StreamappError(
                f"Class number {number} has {len(pictures)} pictures; at least 2 are needed."
            )
        for_validation = min(validation_shots, max(1, len(pictures) // _VALIDATION_PART))
        left = len(pictures) - for_validation
        for_training = min(shots, max(1, left * 2 // 3))
        training.append(pictures[:for_training])
        validation.append(pictures[for_training : for_training + for_validation])
        test.append(pictures[for_training + for_validation :])
    return Split(np.concatenate(training), np.concatenate(validation), np.concatenate(test))


def _in_folders(folder: Path) -> Iterator[tuple[Path, str]]:
    for inner in sorted(folder.iterdir()):
        if not inner.is_dir() or inner.name.startswith("."):
            continue
        for file in sorted(inner.rglob("*")):
            if file.is_file() and not any(part.startswith(".") for part in file.relative_to(folder).parts):
                yield file, inner.name


def _in_csv(path: Path) -> Iterator[tuple[Path, str]]:
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as exc:
        raise StreamappError(f"{path} can't be read as a CSV in UTF-8: {exc}.") from exc
    with StringIO(text, newline="") as file:
        rows = csv.DictReader(file)
        if not set(_CSV_COLUMNS) <= set(rows.fieldnames or ()):
            raise StreamappError(
                f"{path} has the columns {', '.join(rows.fieldnames or ())}; "
                f"expected {', '.join(_CSV_COLUMNS)}."
            )
        for row in rows:
            name, picture = (row["class"] or "").strip(), path.parent / (row["path"] or "").strip()
            if not name or not picture.is_file():
                what = "has no class" if not name else f"names {picture}, which is not there"
                raise StreamappError(f"{path}, line {rows.line_num}: the row {what}.")
            yield picture, name


def _without_doubles(found: Sequence[tuple[Path, str]]) -> list[tuple[Path, str]]:
    """The pictures without those whose bytes came before: a double would be learnt and tested alike."""
    first: dict[bytes, tuple[Path, str]] = {}
    for file, name in found:
        digest = hashlib.sha256(file.read_bytes()).digest()
        earlier = first.setdefault(digest, (file, name))
        if earlier[1] != name:
            raise StreamappError(
                f"{file} is in class {name} and, as {earlier[0]}, in {earlier[1]}: take one of them away."
            )
    doubles = len(found) - len(first)
    if doubles:
        log.warning("%d of %d pictures are there twice and count once.", doubles, len(found))
    return list(first.values())
