"""What CoOp's training gains on the tiny CLIP, with codes and with ordinary names for classes; one JSON line.

    TINY_CLIP_DATA=… python benchmarks/coop_training.py

The pictures are Twemoji, which the tiny CLIP never saw, of the 15 classes of its zero-shot test; `python -m
training.tiny_clip fetch` and `build` make them. They are parted anew for each seed: at most 16 shots of each
class to learn from and at most 8 to validate on; the others, more than half, are the test. A class of fewer
than 32 pictures gives a quarter to validation and at most two thirds of the rest to learning.

For each sort of names the recipe is the one of `RECIPES` with the best mean validation accuracy over the
seeds; the test pictures are looked at only with that one.
"""

import json
import os
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from machine import machine_facts
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).parents[1]))

from streamapp.coop.embedding import Views, embed_squares, picture_views
from streamapp.coop.experiment import hand_written_weights
from streamapp.coop.pictures import Split, split_pictures
from streamapp.coop.scoring import score
from streamapp.coop.training import Embedded, Recipe, Trained, train
from streamapp.models.clip_network import ClipNetwork, load_network
from streamapp.models.clip_source import tiny_source
from training.tiny_clip.concepts import load_concepts
from training.tiny_clip.evaluate import CLASS_PROMPTS
from training.tiny_clip.hierarchy import ZERO_SHOT_CLASSES, class_numbers
from training.tiny_clip.pictures import load_pictures, on_colour

SEEDS = (0, 1, 2)
SHOTS, VALIDATION_SHOTS = 16, 8
VIEWS = Views(count=8, smallest_crop=0.4)
ART, MARGIN_PX = "twemoji", 8

NAMES = tuple(kind.word for kind in ZERO_SHOT_CLASSES)
CODES = (
    *("qx7v", "zk3p", "wj9f", "vb2h", "xq5d", "jw8n", "kz4g", "fv6x"),
    *("hq1z", "pj0w", "gx3k", "dz9q", "nv7j", "tk5x", "bq2w"),
)
RECIPES = {
    "words, shared": Recipe(words="a photo of a", learning_rate=0.02),
    "words, class-specific": Recipe(words="a photo of a", learning_rate=0.02, is_class_specific=True),
    "random 16, shared": Recipe(context_tokens=16, learning_rate=0.02),
}


@dataclass(frozen=True, slots=True)
class Run:
    """One training with its pictures."""

    seed: int
    split: Split
    trained: Trained


def main(data: Path) -> None:
    torch.set_num_threads(1)
    started_s = time.perf_counter()
    source = tiny_source()
    clip = load_network(source, source.locate())
    pictures = embed_art(clip, data)
    labels = pictures.labels.numpy()
    first = split_pictures(labels, shots=SHOTS, validation_shots=VALIDATION_SHOTS, seed=SEEDS[0])
    parts = {name: len(numbers) for name, numbers in asdict(first).items()}
    result = {
        "benchmark": "coop_training",
        "clip": {"name": clip.source.name, "sha256": clip.weights.sha256},
        "pictures": {"art": ART, "classes": len(NAMES), **parts},
        "opaque_names": measure(clip, CODES, pictures),
        "ordinary_names": measure(clip, NAMES, pictures),
        "seconds": round(time.perf_counter() - started_s),
        **machine_facts("torch", "open_clip_torch"),
    }
    print(json.dumps(result))


def embed_art(clip: ClipNetwork, data: Path) -> Embedded:
    """The art set's pictures of the 15 classes, on white, as they are and in augmented views."""
    art = load_pictures(data)
    numbers = art.of(ART)
    labels = class_numbers(load_concepts(data))[art.concept[numbers]]
    numbers, labels = numbers[labels >= 0], labels[labels >= 0]
    drawn = on_colour(functional.pad(art.pixels[torch.from_numpy(numbers)], [MARGIN_PX] * 4), (1.0, 1.0, 1.0))
    pixels = (drawn * 255).round().byte().permute(0, 2, 3, 1).contiguous().numpy()
    vectors = [
        embed_squares(clip, picture_views(clip.transform, picture, VIEWS, number))
        for number, picture in enumerate(pixels)
    ]
    return Embedded(torch.stack(vectors), torch.from_numpy(labels))


def measure(clip: ClipNetwork, names: tuple[str, ...], pictures: Embedded) -> dict[str, object]:
    """Train every recipe with every seed, choose one by validation, and test that one."""
    runs = {
        key: [run(clip, names, pictures, replace(recipe, seed=seed)) for seed in SEEDS]
        for key, recipe in RECIPES.items()
    }
    validation = {key: mean([one.trained.best.validation_accuracy for one in runs[key]]) for key in runs}
    chosen = max(validation, key=lambda key: validation[key])
    by_hand = hand_written_weights(clip, names, CLASS_PROMPTS)
    tests = [
        {
            "seed": one.seed,
            "started_from": accuracies(pictures, one.split, one.trained.start_weights),
            "hand_written": accuracies(pictures, one.split, by_hand),
            "learnt": accuracies(pictures, one.split, one.trained.weights),
            "best_epoch": one.trained.best.number,
            "epochs": one.trained.epochs[-1].number,
        }
        for one in runs[chosen]
    ]
    over_start, over_hand = (
        mean([100 * (test["learnt"]["accuracy"] - test[other]["accuracy"]) for test in tests])
        for other in ("started_from", "hand_written")
    )
    return {
        "validation_accuracy": validation,
        "recipe": chosen,
        "test": tests,
        "points_over_start": round(over_start, 1),
        "points_over_hand_written": round(over_hand, 1),
    }


def run(clip: ClipNetwork, names: tuple[str, ...], pictures: Embedded, recipe: Recipe) -> Run:
    """One training."""
    split = split_pictures(
        pictures.labels.numpy(), shots=SHOTS, validation_shots=VALIDATION_SHOTS, seed=recipe.seed
    )
    training, validation = (part_of(pictures, numbers) for numbers in (split.training, split.validation))
    trained = train(clip.model, clip.tokenizer, names, training, validation, recipe)
    print(f"{names[0]}: {recipe}: {trained.best}", file=sys.stderr)
    return Run(recipe.seed, split, trained)


def part_of(pictures: Embedded, numbers: np.ndarray) -> Embedded:
    """The pictures of these numbers."""
    chosen = torch.from_numpy(numbers)
    return Embedded(pictures.vectors[chosen], pictures.labels[chosen])


def accuracies(pictures: Embedded, split: Split, weights: torch.Tensor) -> dict[str, float]:
    """On the test pictures: the share that is right, and the mean of the classes' shares."""
    test = part_of(pictures, split.test)
    found = score(test.vectors[:, 0].numpy(), test.labels.numpy(), weights.numpy())
    return {"accuracy": round(found.accuracy, 4), "balanced": round(found.balanced_accuracy, 4)}


def mean(values: list[float]) -> float:
    return round(sum(values) / len(values), 4)


if __name__ == "__main__":
    main(Path(os.environ.get("TINY_CLIP_DATA", "build/tiny-clip")))
