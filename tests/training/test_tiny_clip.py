"""The tiny CLIP as it ships: its files, what they promise, and open_clip's own way of loading them."""

import gzip
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from streamapp.models import tiny_clip
from training.tiny_clip.sources import PACKAGES, TEST_SETS, TRAIN_SETS, Role

FOLDER = tiny_clip.FOLDER
DATA = os.environ.get("TINY_CLIP_DATA")

ALLOWED_LICENCES = {"Apache-2.0", "OFL-1.1", "CC-BY-4.0", "MIT", "Unicode-3.0"}


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((FOLDER / tiny_clip.REPORT_FILE).read_text(encoding="utf-8"))
    return loaded


@pytest.fixture(scope="module")
def shipped() -> Any:
    """The network as any user of open_clip loads it: model, preparation, tokenizer."""
    open_clip = pytest.importorskip("open_clip", reason="needs open_clip_torch")
    open_clip.add_model_config(FOLDER / tiny_clip.CONFIG_FILE)
    model, _, prepare = open_clip.create_model_and_transforms(
        tiny_clip.NAME, pretrained=str(FOLDER / tiny_clip.WEIGHTS_FILE)
    )
    tokenizer = open_clip.get_tokenizer(tiny_clip.NAME, bpe_path=str(FOLDER / tiny_clip.VOCABULARY_FILE))
    return model.eval().requires_grad_(False), prepare, tokenizer


def test_all_that_ships_is_at_most_ten_megabytes() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir() if path.is_file()) <= 10_000_000


def test_the_report_is_about_the_weights_that_ship(report: dict[str, Any]) -> None:
    weights = (FOLDER / tiny_clip.WEIGHTS_FILE).read_bytes()
    assert report["evaluation"]["weights"] == {
        "sha256": hashlib.sha256(weights).hexdigest(),
        "bytes": len(weights),
    }


def test_the_report_is_about_the_packages_that_are_pinned(report: dict[str, Any]) -> None:
    pinned = {f"{package.name}@{package.version}": package.sha256 for package in PACKAGES}
    assert report["training"]["packages"] == pinned


def test_what_was_promised_is_reached_on_art_never_learnt_from(report: dict[str, Any]) -> None:
    twemoji = report["evaluation"]["zero_shot"]["twemoji (test)"]
    assert twemoji["pictures"] > 1300
    assert twemoji["name_top1"] >= 0.35
    assert twemoji["class_top1"] >= 0.65
    assert report["training"]["minutes"] <= 60


def test_test_art_is_no_training_art_and_every_licence_allows_its_use() -> None:
    assert set(TEST_SETS) == {"twemoji", "openmoji"}
    assert not set(TEST_SETS) & set(TRAIN_SETS)
    assert {package.licence for package in PACKAGES if package.role is not Role.TEST} <= ALLOWED_LICENCES


def test_the_sources_name_every_package_its_licence_and_its_author() -> None:
    rows = (FOLDER / tiny_clip.SOURCES_FILE).read_text(encoding="utf-8").splitlines()
    for package in PACKAGES:
        expected = (f"{package.name} {package.version}", package.licence, package.credit)
        assert any(all(part in row for part in expected) for row in rows), package.name


def test_the_vocabulary_carries_its_licence_and_ends_without_a_newline() -> None:
    merges = gzip.decompress((FOLDER / tiny_clip.VOCABULARY_FILE).read_bytes())
    assert merges.count(b"\n") == 4000
    assert not merges.endswith(b"\n")
    assert "Permission is hereby granted" in (FOLDER / tiny_clip.NOTICE_FILE).read_text(encoding="utf-8")


def test_the_weights_are_half_precision_and_fill_the_whole_network(shipped: Any) -> None:
    import torch
    from safetensors.torch import load_file

    weights = load_file(FOLDER / tiny_clip.WEIGHTS_FILE)
    model, _, _ = shipped
    model.load_state_dict(weights, strict=True)
    assert {tensor.dtype for tensor in weights.values()} == {torch.float16, torch.int64}


def test_every_token_is_in_the_networks_table_and_long_texts_are_cut(shipped: Any) -> None:
    model, _, tokenizer = shipped
    tokens = tokenizer(["a picture of a dog", "zygote Zürich 🦓 " * 40, ""])
    assert tokens.shape == (3, model.context_length) == (3, 32)
    assert int(tokens.max()) == tokenizer.vocab_size - 1 == model.vocab_size - 1


def test_embeddings_of_pictures_of_any_shape_are_finite_and_of_unit_length(shipped: Any) -> None:
    import torch

    model, prepare, tokenizer = shipped
    pictures = [Image.new("RGB", size, colour) for size, colour in [((1, 1), "black"), ((31, 500), "red")]]
    image = model.encode_image(torch.stack([prepare(picture) for picture in pictures]), normalize=True)
    text = model.encode_text(tokenizer(["a dog", "a very angry red face"]), normalize=True)
    for embedding in (image, text):
        assert embedding.shape == (2, 128)
        torch.testing.assert_close(embedding.norm(dim=-1), torch.ones(2))


def drawn_face(draw: ImageDraw.ImageDraw) -> None:
    draw.ellipse((16, 16, 240, 240), fill="#ffcc33")
    draw.ellipse((76, 80, 104, 124), fill="#553311")
    draw.ellipse((152, 80, 180, 124), fill="#553311")
    draw.chord((70, 120, 186, 206), 0, 180, fill="#553311")


def drawn_heart(draw: ImageDraw.ImageDraw) -> None:
    draw.ellipse((20, 40, 134, 154), fill="#dd2233")
    draw.ellipse((122, 40, 236, 154), fill="#dd2233")
    draw.polygon([(30, 126), (226, 126), (128, 236)], fill="#dd2233")


def drawn_clock(draw: ImageDraw.ImageDraw) -> None:
    draw.ellipse((16, 16, 240, 240), fill="#eeeeee", outline="#444444", width=14)
    draw.line((128, 128, 128, 50), fill="black", width=10)
    draw.line((128, 128, 180, 128), fill="black", width=10)


@pytest.mark.parametrize(
    ("drawing", "expected"),
    [(drawn_face, "a smiling face"), (drawn_heart, "a red heart"), (drawn_clock, "a clock")],
)
def test_a_drawing_of_the_tests_own_is_known_by_its_name(
    shipped: Any, drawing: Callable[[ImageDraw.ImageDraw], None], expected: str
) -> None:
    model, prepare, tokenizer = shipped
    picture = Image.new("RGB", (256, 256), "white")
    drawing(ImageDraw.Draw(picture))
    words = ["a smiling face", "a red heart", "a clock", "a tree", "an umbrella", "a dog", "a car", "a pizza"]
    text = model.encode_text(tokenizer(words), normalize=True)
    image = model.encode_image(prepare(picture)[None], normalize=True)
    assert words[int((image @ text.T).argmax())] == expected


@pytest.mark.parametrize(
    ("word", "near", "far"),
    [
        ("a photo of a dog", "puppy", "trumpet"),
        ("a beer mug", "something to drink", "vehicle"),
        ("guitar", "musical instruments", "weapons"),
        ("a smiling face", "happy", "church"),
    ],
)
def test_the_text_tower_holds_like_with_like(shipped: Any, word: str, near: str, far: str) -> None:
    model, _, tokenizer = shipped
    embedding = model.encode_text(tokenizer([word, near, far]), normalize=True)
    likeness = embedding[1:] @ embedding[0]
    assert likeness[0] > likeness[1]


def test_the_test_art_gives_the_figures_of_the_report(report: dict[str, Any], shipped: Any) -> None:
    if DATA is None:
        pytest.skip("needs TINY_CLIP_DATA, the folder that `python -m training.tiny_clip build` fills")
    from training.tiny_clip.evaluate import Evaluation

    evaluation = Evaluation(Path(DATA), FOLDER)
    found = evaluation.on(evaluation.pictures.of("twemoji"))
    told = report["evaluation"]["zero_shot"]["twemoji (test)"]
    assert found.pictures == told["pictures"]
    assert found.name_top1 == pytest.approx(told["name_top1"], abs=0.005)
    assert found.class_top1 == pytest.approx(told["class_top1"], abs=0.005)
