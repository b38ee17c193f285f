"""Test an export zero-shot, through its own files and open_clip's own calls only."""

import hashlib
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch.nn import functional

from streamapp.models import tiny_clip
from training.tiny_clip import network
from training.tiny_clip.concepts import Concept, load_concepts
from training.tiny_clip.hierarchy import ZERO_SHOT_CLASSES, class_numbers
from training.tiny_clip.pictures import Indices, Pictures, load_pictures, on_colour
from training.tiny_clip.sources import TEST_SETS

# Fixed before any test picture was looked at.
NAME_PROMPTS = ("{}", "a picture of {}", "an emoji of a {}")
CLASS_PROMPTS = ("{}", "a picture of {}", "a photo of {}")

_WHITE, _GREEN = (1.0, 1.0, 1.0), (0.27, 0.43, 0.24)
_MARGIN_PX = 8
_ENCODE_BATCH = 256


@dataclass(frozen=True, slots=True)
class Figures:
    """What the network reaches on one set of pictures; shares in [0, 1].

    Attributes:
        pictures: how many.
        name_top1, name_top5: the right name is first, or among the first five, of all names.
        name_top1_on_green: the same as ``name_top1`` on a plain green background.
        class_pictures: how many belong to one of the 15 classes.
        class_top1: of those, how many get their class.
        class_balanced: the mean of the classes' recalls.
        class_recall: by class word.
    """

    pictures: int
    name_top1: float
    name_top5: float
    name_top1_on_green: float
    class_pictures: int
    class_top1: float
    class_balanced: float
    class_recall: dict[str, float]


class Evaluation:
    """An export beside the pictures that it is tested on."""

    def __init__(self, data: Path, export: Path) -> None:
        """Load the export and encode its prompts."""
        self._export = export
        self._tiny = network.load(export)
        self._concepts: list[Concept] = load_concepts(data)
        self.pictures: Pictures = load_pictures(data)
        self._class_of = class_numbers(self._concepts)
        self._names = self._prompts([concept.name for concept in self._concepts], NAME_PROMPTS)
        self._classes = self._prompts([kind.word for kind in ZERO_SHOT_CLASSES], CLASS_PROMPTS)

    def report(self, say: Callable[[str], None]) -> dict[str, Any]:
        """Test on the held-out art and, to see how much is learnt by heart, on art that was learnt from."""
        learnt_from, validation = self.pictures.split()
        noto = np.intersect1d(self.pictures.of("noto"), learnt_from)
        sets = {"noto (learnt from)": noto, "validation (drawings held out)": validation}
        sets |= {f"{name} (test)": self.pictures.of(name) for name in TEST_SETS}
        figures: dict[str, dict[str, Any]] = {}
        for name, pictures in sets.items():
            found = self.on(pictures)
            figures[name] = asdict(found)
            say(
                f"{name}: {found.pictures} pictures; names top-1 {found.name_top1:.1%}, "
                f"top-5 {found.name_top5:.1%}, on green {found.name_top1_on_green:.1%}; "
                f"{len(ZERO_SHOT_CLASSES)} classes {found.class_top1:.1%}, "
                f"balanced {found.class_balanced:.1%}"
            )
        weights = (self._export / tiny_clip.WEIGHTS_FILE).read_bytes()
        return {
            "evaluated": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": f"{platform.machine()}, torch {torch.__version__}",
            "weights": {"sha256": hashlib.sha256(weights).hexdigest(), "bytes": len(weights)},
            "names": len(self._concepts),
            "name_prompts": NAME_PROMPTS,
            "class_prompts": CLASS_PROMPTS,
            "classes": [kind.word for kind in ZERO_SHOT_CLASSES],
            "zero_shot": figures,
        }

    def on(self, pictures: Indices) -> Figures:
        """Test on the pictures of these numbers."""
        concept = self.pictures.concept[pictures]
        image = self._encode(pictures, _WHITE)
        best = (image @ self._names.T).topk(5).indices.numpy()
        on_green = (self._encode(pictures, _GREEN) @ self._names.T).argmax(1).numpy()
        kind = self._class_of[concept]
        in_class = kind >= 0
        hit = (image @ self._classes.T).argmax(1).numpy()[in_class] == kind[in_class]
        recall = {
            ZERO_SHOT_CLASSES[number].word: _share(hit[kind[in_class] == number])
            for number in np.unique(kind[in_class])
        }
        return Figures(
            pictures=len(pictures),
            name_top1=_share(best[:, 0] == concept),
            name_top5=_share((best == concept[:, None]).any(1)),
            name_top1_on_green=_share(on_green == concept),
            class_pictures=int(in_class.sum()),
            class_top1=_share(hit),
            class_balanced=round(float(np.mean(list(recall.values()))), 4),
            class_recall=recall,
        )

    @torch.no_grad()
    def _prompts(self, words: Sequence[str], prompts: Sequence[str]) -> torch.Tensor:
        """The mean over the prompts of each word's embedding: (words, 128), unit length."""
        encoded = [self._encode_text([prompt.format(word) for word in words]) for prompt in prompts]
        return functional.normalize(torch.stack(encoded).mean(0), dim=-1)

    def _encode_text(self, texts: Sequence[str]) -> torch.Tensor:
        lots = [texts[start : start + _ENCODE_BATCH] for start in range(0, len(texts), _ENCODE_BATCH)]
        return torch.cat(
            [self._tiny.model.encode_text(self._tiny.tokenizer(list(lot)), normalize=True) for lot in lots]
        )

    @torch.no_grad()
    def _encode(self, pictures: Indices, colour: tuple[float, float, float]) -> torch.Tensor:
        """Embed the pictures, laid on a colour and prepared by open_clip: (N, 128), unit length."""
        lots = []
        for start in range(0, len(pictures), _ENCODE_BATCH):
            chosen = self.pictures.pixels[torch.from_numpy(pictures[start : start + _ENCODE_BATCH])]
            with_margin = on_colour(functional.pad(chosen, [_MARGIN_PX] * 4), colour)
            pixels = (with_margin * 255).round().byte().permute(0, 2, 3, 1).numpy()
            prepared = torch.stack([self._tiny.prepare(Image.fromarray(square)) for square in pixels])
            lots.append(self._tiny.model.encode_image(prepared, normalize=True))
        return torch.cat(lots)


def _share(hits: npt.NDArray[np.bool_]) -> float:
    return round(float(hits.mean()), 4)
