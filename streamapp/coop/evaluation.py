"""The test of an export on labelled pictures."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import numpy as np

from streamapp.coop.embedding import embed_pictures
from streamapp.coop.export import Tagger
from streamapp.coop.pictures import LabelledPictures
from streamapp.coop.scoring import Score, score
from streamapp.errors import StreamappError, WeightsError
from streamapp.models.clip_network import ClipNetwork


class ReadingProgress(Protocol):
    """Is told how many pictures have been read."""

    def reading(self, pictures: int) -> AbstractContextManager[Callable[[], None]]:
        """So many pictures are about to be read; the function that it gives counts one."""


def evaluate_tagger(
    clip: ClipNetwork, tagger: Tagger, pictures: LabelledPictures, progress: ReadingProgress
) -> tuple[Score, dict[Path, str]]:
    """Test an export; classes that have no pictures may be missing.

    Returns:
        the score, with the classes in the export's order; the files that could not be read, and why.

    Raises:
        WeightsError: the export belongs to other CLIP weights.
        StreamappError: there are pictures of a class that the export does not know, or none can be read.
    """
    if clip.weights.sha256 != tagger.clip_sha256:
        raise WeightsError(
            f"The export was trained on {tagger.clip_name} with the SHA-256 {tagger.clip_sha256}, but "
            f"{clip.weights.path} has {clip.weights.sha256}: its embeddings mean something else."
        )
    unknown = [name for name in pictures.classes if name not in tagger.classes]
    if unknown:
        raise StreamappError(
            f"The export has no class {', '.join(unknown)}; it has {', '.join(tagger.classes)}."
        )
    numbers = np.array([tagger.classes.index(name) for name in pictures.classes], np.int64)
    with progress.reading(len(pictures.files)) as on_picture:
        found = embed_pictures(clip, pictures.files, numbers[pictures.labels], on_picture=on_picture)
    vectors, labels = found.embedded.vectors[:, 0].numpy(), found.embedded.labels.numpy()
    return score(vectors, labels, tagger.weights, tagger.scale, tagger.bias), found.unreadable
