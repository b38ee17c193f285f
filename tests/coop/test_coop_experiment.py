"""The whole way, small: drawn shapes under names that mean nothing, to a report and an export."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from shapes import CODES, draw_folders

from streamapp.coop.confusion import draw_confusion
from streamapp.coop.evaluation import evaluate_tagger
from streamapp.coop.experiment import Outcome, Plan, hand_written_weights, run_experiment
from streamapp.coop.pictures import read_pictures
from streamapp.coop.report import percent, write_report
from streamapp.coop.scoring import score
from streamapp.coop.training import Epoch, Recipe
from streamapp.errors import StreamappError, WeightsError
from streamapp.models.clip_network import ClipNetwork

PLAN = Plan(
    shots=12,
    validation_shots=4,
    recipe=Recipe(context_tokens=4, is_class_specific=True, epochs=40, learning_rate=0.02, batch_pictures=16),
    views=3,
)
EACH = 26


class CountingProgress:
    """Counts what it is told."""

    def __init__(self) -> None:
        self.read = 0
        self.epochs: list[Epoch] = []

    @contextmanager
    def reading(self, pictures: int) -> Iterator[Callable[[], None]]:
        def count() -> None:
            self.read += 1

        yield count

    @contextmanager
    def learning(self, epochs: int) -> Iterator[Callable[[Epoch], None]]:
        yield self.epochs.append


@pytest.fixture(scope="module")
def progress() -> CountingProgress:
    return CountingProgress()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_folders(tmp_path_factory.mktemp("shapes"), EACH)


@pytest.fixture(scope="module")
def outcome(clip: ClipNetwork, folder: Path, progress: CountingProgress) -> Outcome:
    return run_experiment(clip, read_pictures(folder), PLAN, progress)


def test_names_that_mean_nothing_are_learnt_from_a_few_pictures(outcome: Outcome) -> None:
    scores = outcome.scores
    assert outcome.counts == {"training": 72, "validation": 24, "test": 60}
    assert scores.learnt.pictures == 60
    assert scores.learnt.accuracy >= scores.started.accuracy + 0.15
    assert scores.learnt.accuracy >= scores.hand_written.accuracy + 0.15


def test_the_progress_is_told_every_picture_and_epoch(outcome: Outcome, progress: CountingProgress) -> None:
    assert progress.read == len(CODES) * EACH
    assert tuple(progress.epochs) == outcome.trained.epochs


def test_the_export_does_on_the_same_pictures_what_the_training_said(
    clip: ClipNetwork, folder: Path, outcome: Outcome
) -> None:
    found, unreadable = evaluate_tagger(clip, outcome.tagger, read_pictures(folder), CountingProgress())
    assert not unreadable
    assert found.pictures == len(CODES) * EACH
    # All pictures: those of the test are among them, with the very same answers.
    assert (found.confusion >= outcome.scores.learnt.confusion).all()


def test_an_export_is_not_tested_on_another_clip(clip: ClipNetwork, folder: Path, outcome: Outcome) -> None:
    other = replace(outcome.tagger, clip_sha256="ab" * 32)
    with pytest.raises(WeightsError, match=f"{'ab' * 32}.*{clip.weights.sha256}"):
        evaluate_tagger(clip, other, read_pictures(folder), CountingProgress())


def test_an_export_is_not_tested_on_classes_it_does_not_know(
    clip: ClipNetwork, outcome: Outcome, tmp_path: Path
) -> None:
    for name in ("qx7v", "dog"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_text(name)
    with pytest.raises(StreamappError, match="has no class dog; it has"):
        evaluate_tagger(clip, outcome.tagger, read_pictures(tmp_path), CountingProgress())


def test_the_report_says_all_that_was_found(outcome: Outcome, tmp_path: Path) -> None:
    write_report(tmp_path, outcome)
    values = json.loads((tmp_path / "report.json").read_text())
    learnt = values["test"]["learnt"]
    assert values["pictures"] == outcome.counts
    assert values["plan"]["recipe"]["seed"] == 0
    assert len(values["epochs"]) == len(outcome.trained.epochs)
    assert np.array(learnt["confusion"]).sum() == learnt["pictures"] == 60
    assert set(learnt["class_accuracy"]) == set(CODES.values())
    text = (tmp_path / "report.md").read_text()
    for kind in ("learnt", "started_from", "hand_written"):
        assert percent(values["test"][kind]["accuracy"]) in text
    assert all(f"| {code} |" in text for code in CODES.values())
    with Image.open(tmp_path / "confusion.png") as picture:
        assert min(picture.size) > 30 * len(CODES)


def test_a_training_that_leaves_no_test_pictures_says_so(clip: ClipNetwork, tmp_path: Path) -> None:
    pictures = read_pictures(draw_folders(tmp_path / "pictures", 2))
    plan = replace(PLAN, recipe=replace(PLAN.recipe, epochs=1))
    outcome = run_experiment(clip, pictures, plan, CountingProgress())
    assert outcome.counts == {"training": 6, "validation": 6, "test": 0}
    write_report(tmp_path / "report", outcome)
    assert "| learnt | no test pictures |" in (tmp_path / "report" / "report.md").read_text()


def test_hand_written_prompts_are_the_mean_of_their_templates(clip: ClipNetwork) -> None:
    templates = ("a photo of a {}.", "{}")
    found = hand_written_weights(clip, ["hot_dog", "cat"], templates)
    sentences = [clip.encode_texts([t.replace("{}", n) for n in ("hot dog", "cat")]) for t in templates]
    expected = torch.nn.functional.normalize(torch.from_numpy(sum(sentences) / 2), dim=-1)
    assert torch.allclose(found, expected, atol=1e-5)


def test_a_confusion_matrix_is_darkest_where_a_class_goes() -> None:
    confusion = np.array([[9, 0], [3, 1]])
    pixels = np.asarray(
        draw_confusion(confusion, ["one", "a name that is much too long to be shown"], "Title")
    )
    height, width = pixels.shape[:2]
    # The cells are the last 2 x 30 px before a margin of 12 px; looked at beside their numbers.
    corners = [
        [pixels[height - 12 - 60 + 30 * r + 4, width - 12 - 60 + 30 * c + 4] for c in (0, 1)] for r in (0, 1)
    ]
    brightness = np.array(corners).sum(axis=2)
    assert brightness[0, 0] < brightness[1, 0] < brightness[1, 1] < brightness[0, 1]


def test_scores_count_classes_alike_whatever_their_size() -> None:
    vectors = np.eye(3, dtype=np.float32)[[0, 0, 0, 1, 1]]
    found = score(vectors, np.array([0, 0, 0, 1, 0]), np.eye(3, dtype=np.float32))
    assert found.confusion.tolist() == [[3, 1, 0], [0, 1, 0], [0, 0, 0]]
    assert found.accuracy == 0.8
    assert found.class_accuracy == (0.75, 1.0, None)
    assert found.balanced_accuracy == 0.875


def test_a_bias_moves_the_answer() -> None:
    vectors = np.array([[1.0, 0.9]], np.float32)
    eye = np.eye(2, dtype=np.float32)
    bias = np.array([0.0, 0.2], np.float32)
    assert score(vectors, np.array([1]), eye).accuracy == 0
    assert score(vectors, np.array([1]), eye, scale=1.0, bias=bias).accuracy == 1
    assert score(vectors, np.array([1]), eye, scale=100.0, bias=bias).accuracy == 0
