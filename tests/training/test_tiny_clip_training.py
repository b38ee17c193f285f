"""The script that makes the tiny CLIP: what it learns from, that its shortcuts are exact, that it resumes."""

import json
import random
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("open_clip", reason="needs open_clip_torch")

import torch

from streamapp.models import tiny_clip
from training.tiny_clip import network
from training.tiny_clip.augment import Augmenter
from training.tiny_clip.captions import Captioner
from training.tiny_clip.concepts import Concept, save_concepts
from training.tiny_clip.fetch_data import fetch_all
from training.tiny_clip.files import replaced
from training.tiny_clip.hierarchy import ZERO_SHOT_CLASSES, class_numbers, kinds_of
from training.tiny_clip.learner import encode_tokens, spread
from training.tiny_clip.pictures import PICTURES_FILE, SIDE_PX, Pictures, load_pictures
from training.tiny_clip.sources import ART_SETS, PACKAGES, TEST_SETS, TRAIN_SETS
from training.tiny_clip.train import Plan, Training, rate_at

CONCEPTS = [
    Concept("dog", "1F415", "🐕", "animals-nature", "animal-mammal", ("pet", "puppy")),
    Concept("cat", "1F408", "🐈", "animals-nature", "animal-mammal", ("pet", "kitten")),
    Concept("guitar", "1F3B8", "🎸", "objects", "musical-instrument", ("strings",)),
    Concept("hot dog", "1F32D", "🌭", "food-drink", "food-prepared", ("sausage",)),
    Concept("bomb", "1F4A3", "💣", "smileys-emotion", "emotion", ()),
    Concept("firecracker", "1F9E8", "🧨", "activities", "event", ()),
    Concept("taxi", "1F695", "🚕", "travel-places", "transport-ground", ("cab",)),
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with seven concepts, each drawn at random in every art set."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(7)
    count = len(CONCEPTS) * len(ART_SETS)
    pixels = rng.integers(0, 128, (count, SIDE_PX, SIDE_PX, 4), dtype=np.uint8)
    pixels[..., 3] = 255
    np.savez(
        folder / PICTURES_FILE,
        pixels=pixels,
        concept=np.repeat(np.arange(len(CONCEPTS)), len(ART_SETS)),
        art=np.tile(np.arange(len(ART_SETS)), len(CONCEPTS)),
    )
    save_concepts(folder, CONCEPTS)
    return folder


@pytest.fixture(scope="module")
def shipped() -> network.TinyClip:
    return network.load(tiny_clip.FOLDER)


def test_no_test_art_is_learnt_from_or_validated_on(data: Path) -> None:
    pictures = load_pictures(data)
    learnt_from, validation = pictures.split()
    used = {ART_SETS[art] for art in pictures.art[np.concatenate([learnt_from, validation])]}
    assert used == set(TRAIN_SETS)
    assert not used & set(TEST_SETS)


def test_validation_takes_one_drawing_of_a_concept_that_keeps_others(data: Path) -> None:
    pictures = load_pictures(data)
    learnt_from, validation = pictures.split()
    assert len(validation) > 0
    assert not set(learnt_from) & set(validation)
    concepts = pictures.concept[validation].tolist()
    assert len(set(concepts)) == len(concepts)
    assert all((pictures.concept[learnt_from] == concept).sum() >= 3 for concept in concepts)


def test_a_concept_drawn_often_still_gives_one_drawing_to_validation() -> None:
    pixels = torch.zeros(100, 4, 1, 1, dtype=torch.uint8)
    pictures = Pictures(pixels, np.zeros(100, np.int64), np.zeros(100, np.int64) + ART_SETS.index("noto"))
    learnt_from, validation = pictures.split()
    assert (len(learnt_from), len(validation)) == (99, 1)


def test_the_split_is_the_same_every_time(data: Path) -> None:
    first, second = load_pictures(data).split(), load_pictures(data).split()
    assert all((one == other).all() for one, other in zip(first, second, strict=True))


def test_every_caption_is_true_of_its_concept(shipped: network.TinyClip) -> None:
    captioner = Captioner(CONCEPTS, shipped.tokenizer, network.CONTEXT_LENGTH)
    rng = random.Random(1)
    for concept in [number for number in range(len(CONCEPTS)) for _ in range(100)]:
        caption = captioner.draw(concept, rng)
        assert captioner.true_of[caption.phrase, concept]
        assert len(caption.tokens) <= network.CONTEXT_LENGTH
        assert caption.tokens[-1] == shipped.tokenizer.eot_token_id


def test_a_long_caption_is_cut_and_keeps_its_end_token(shipped: network.TinyClip) -> None:
    wordy = Concept("man " * 40, "1F468", "👨", "people-body", "person", ())
    captioner = Captioner([wordy], shipped.tokenizer, network.CONTEXT_LENGTH)
    captions = [captioner.draw(0, random.Random(seed)).tokens for seed in range(20)]
    assert max(map(len, captions)) == network.CONTEXT_LENGTH
    assert {tokens[-1] for tokens in captions} == {shipped.tokenizer.eot_token_id}


def test_a_phrase_that_is_true_of_two_concepts_is_a_positive_of_both(shipped: network.TinyClip) -> None:
    captioner = Captioner(CONCEPTS, shipped.tokenizer, network.CONTEXT_LENGTH)
    true_of = {tuple(np.flatnonzero(row).tolist()) for row in captioner.true_of.numpy()}
    assert (0, 1) in true_of  # "pet", "animal"
    assert (0,) in true_of  # "dog"


def test_weights_are_shared_equally_among_true_pairs() -> None:
    shared = spread(torch.tensor([[True, True, False], [False, True, False]]))
    assert shared.tolist() == [[0.5, 0.5, 0.0], [0.0, 1.0, 0.0]]


def test_encoding_without_padding_equals_open_clips_own(shipped: network.TinyClip) -> None:
    texts = ["dog", "a photo of a very small guitar on a plain background", "hot dog"]
    specials = shipped.tokenizer.sot_token_id, shipped.tokenizer.eot_token_id
    tokens = [[specials[0], *shipped.tokenizer.encode(text), specials[1]] for text in texts]
    expected = shipped.model.encode_text(shipped.tokenizer(texts))
    torch.testing.assert_close(encode_tokens(shipped.model, tokens), expected, atol=1e-5, rtol=1e-5)


def test_augmented_pictures_are_in_range_and_new_each_time(data: Path) -> None:
    drawings = load_pictures(data).pixels
    augment = Augmenter(drawings, side_px=64, seed=0, backgrounds=16)
    first, second = augment(drawings), augment(drawings)
    assert first.shape == (len(drawings), 3, 64, 64)
    assert 0 <= float(first.min()) < float(first.max()) <= 1
    assert not torch.equal(first, second)


def test_a_drawing_that_is_all_transparent_leaves_only_background() -> None:
    clear = torch.zeros(8, 4, SIDE_PX, SIDE_PX, dtype=torch.uint8)
    augment = Augmenter(clear, side_px=64, seed=0, backgrounds=16)
    placed = torch.zeros(8, 4, 64, 64)
    assert not augment._recoloured(placed).any()


def test_kinds_and_classes_follow_unicodes_order_and_the_exceptions() -> None:
    assert "animal" in kinds_of(CONCEPTS[0])
    assert "weapon" in kinds_of(CONCEPTS[4])
    classes = [ZERO_SHOT_CLASSES[number].word for number in class_numbers(CONCEPTS)]
    assert classes == ["animal", "animal", "musical instrument", "food", "weapon", "weapon", "automobile"]


def test_the_learning_rate_rises_then_falls_to_a_fiftieth() -> None:
    plan = Plan(warm_up_steps=100, learning_rate=1.0)
    assert rate_at(plan, 0, 0.0) == pytest.approx(0.01)
    assert rate_at(plan, 99, 0.0) == pytest.approx(1.0)
    assert rate_at(plan, 5000, 1.0) == pytest.approx(0.02)


def test_a_run_that_was_broken_off_goes_on_from_its_checkpoint(data: Path, tmp_path: Path) -> None:
    said: list[str] = []
    for steps in (2, 3, 3):
        plan = Plan(steps=steps, batch=4, backgrounds=16, save_every=2, say_every=1)
        Training(data, tmp_path, plan, said.append).train()
    assert any(line.startswith("going on from step 2") for line in said)
    assert said[-1].startswith("the budget is used up: 3 steps")
    account = json.loads((tmp_path / "training.json").read_text())
    assert account["steps"] == 3
    assert [look["step"] for look in account["validation"]] == [2, 3]
    exported = network.load(tmp_path / "export")
    assert torch.isfinite(exported.model.encode_text(exported.tokenizer(["dog"]))).all()


def test_a_batch_larger_than_there_are_concepts_is_refused(data: Path, tmp_path: Path) -> None:
    """It would be waited for without end."""
    training = Training(data, tmp_path, Plan(steps=1, batch=8, backgrounds=16), lambda line: None)
    with pytest.raises(ValueError, match="7 concepts, too few for a batch of 8"):
        training.train()


def test_a_package_with_another_digest_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "packages" / PACKAGES[0].archive_name
    archive.parent.mkdir()
    archive.write_bytes(b"something else")
    with pytest.raises(ValueError, match=PACKAGES[0].sha256):
        fetch_all(tmp_path, lambda line: None)


def test_a_file_whose_writing_fails_stays_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="broken off"), replaced(path) as part:
        part.write_text("half")
        raise RuntimeError("broken off")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("weights", "old")]


def test_a_drawing_is_cropped_and_centred_and_an_empty_one_left_out() -> None:
    pytest.importorskip("resvg_py", reason="needs resvg_py")
    from training.tiny_clip.build_data import render

    svg = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100">{}</svg>'
    bar = render(svg.format('<rect x="80" y="10" width="10" height="40" fill="red"/>'))
    assert bar is not None
    alpha = bar[..., 3]
    assert alpha[:, 40:56].min() == 255  # as high as the square, and in the middle of it
    assert not alpha[:, :30].any()
    assert not alpha[:, -30:].any()
    assert render(svg.format("")) is None


def test_premultiplied_art_is_laid_on_a_colour_without_seams() -> None:
    from training.tiny_clip.pictures import on_colour

    half_red = torch.tensor([128, 0, 0, 128], dtype=torch.uint8).view(1, 4, 1, 1)
    assert on_colour(half_red, (1.0, 1.0, 1.0)).flatten().tolist() == pytest.approx(
        [1.0, 0.498, 0.498], abs=1e-3
    )


def test_pictures_are_found_by_art_set(data: Path) -> None:
    pictures: Pictures = load_pictures(data)
    assert len(pictures.of("twemoji")) == len(CONCEPTS)
    assert {ART_SETS[art] for art in pictures.art[pictures.of("twemoji", "noto")]} == {"twemoji", "noto"}
