"""The image tower against open_clip's own `encode_image`; batches, precisions, devices, broken weights."""

import logging
import threading
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from streamapp.errors import SettingsError, WeightsError
from streamapp.models import clip_backbone
from streamapp.models.clip_backbone import ClipBackbone
from streamapp.models.clip_heads import ClipHead
from streamapp.models.clip_network import load_network
from streamapp.models.clip_source import ClipSource, open_clip_source, tiny_source
from streamapp.models.clip_texts import TextCache
from streamapp.models.torch_device import Precision, require_device, use_threads
from streamapp.models.weights import WeightsFile
from streamapp.policy import load_policy


def no_artifact(name: str) -> WeightsFile:
    raise WeightsError(f"{name} is not here")


def own_source(model: str, path: Path) -> ClipSource:
    return open_clip_source(model, own=path, setting="STREAMAPP_CLIP_WEIGHTS", locate=no_artifact)


def backbone_of(source: ClipSource, precision: str = "fp32") -> ClipBackbone:
    backbone = ClipBackbone(source, device="cpu", precision=precision, threads=1)
    backbone.load()
    return backbone


def squares_of(count: int, side_px: int, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    cells = generator.integers(0, 256, (count, side_px // 16, side_px // 16, 3), np.uint8)
    return cells.repeat(16, 1).repeat(16, 2)


def encoded(backbone: ClipBackbone, squares: np.ndarray) -> np.ndarray:
    """What open_clip makes of the same pictures, each alone."""
    mean, std = (
        torch.tensor(values).view(3, 1, 1)
        for values in (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)
    )
    rows = []
    with torch.inference_mode():
        for square in squares:
            image = (torch.from_numpy(square).permute(2, 0, 1).float() / 255 - mean) / std
            rows.append(backbone.network.model.encode_image(image[None], normalize=True))
    return torch.cat(rows).numpy()


@pytest.fixture(scope="module")
def random_vit(tmp_path_factory: pytest.TempPathFactory) -> ClipSource:
    """A ViT-B-16 with seeded random weights, in half precision to be smaller on disk."""
    path = tmp_path_factory.mktemp("vit") / "random.safetensors"
    torch.manual_seed(0)
    model = open_clip.create_model("ViT-B-16", force_quick_gelu=True)
    save_file({name: value.half() for name, value in model.state_dict().items()}, path)
    return own_source("ViT-B-16", path)


@pytest.fixture(scope="module")
def tiny() -> ClipBackbone:
    backbone = backbone_of(tiny_source())
    backbone.settle()
    return backbone


@pytest.mark.parametrize(("precision", "worst"), [("fp32", 1e-5), ("bf16", None)])
def test_the_tiny_clip_equals_encode_image(precision: str, worst: float | None) -> None:
    backbone = backbone_of(tiny_source(), precision)
    squares = squares_of(5, 64)
    expected = encoded(backbone, squares)
    backbone.settle()

    embedded = backbone.embed(list(squares))

    assert embedded.dtype == np.float32
    assert (embedded * expected).sum(axis=1).min() >= 0.999
    if worst is not None:
        assert np.abs(embedded - expected).max() <= worst


def test_a_large_clip_equals_encode_image(random_vit: ClipSource) -> None:
    exact = backbone_of(random_vit)
    squares = squares_of(1, 224)
    expected = encoded(exact, squares)
    exact.settle()
    fast = backbone_of(random_vit, "bf16")
    fast.settle()

    assert np.abs(exact.embed(list(squares)) - expected).max() <= 1e-5
    assert (fast.embed(list(squares)) * expected).sum(axis=1).min() >= 0.999


def test_openais_weights_get_the_activation_that_they_were_trained_with(random_vit: ClipSource) -> None:
    network = load_network(random_vit, random_vit.locate())

    assert (random_vit.name, random_vit.tag) == ("ViT-B-16", "openai")
    assert type(network.model.visual.transformer.resblocks[0].mlp.gelu).__name__ == "QuickGELU"


@settings(deadline=None, max_examples=15)
@given(st.permutations(range(6)), st.integers(1, 6))
def test_an_embedding_depends_neither_on_the_order_nor_on_the_neighbours(
    tiny: ClipBackbone, order: list[int], count: int
) -> None:
    squares = squares_of(6, 64)
    chosen = order[:count]

    batch = tiny.embed([squares[index] for index in chosen])

    alone = np.concatenate([tiny.embed([squares[index]]) for index in chosen])
    assert np.abs(batch - alone).max() <= 1e-5


def test_threads_that_embed_at_the_same_time_get_their_own_answers(tiny: ClipBackbone) -> None:
    squares = squares_of(4, 64)
    expected = tiny.embed(list(squares))
    answers: dict[int, np.ndarray] = {}

    def embed(index: int) -> None:
        answers[index] = tiny.embed([squares[index]] * 3)

    threads = [threading.Thread(target=embed, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    for index, answer in answers.items():
        assert np.abs(answer - expected[index]).max() <= 1e-5
    assert len(answers) == 4


@pytest.mark.parametrize(
    ("seconds", "cosines", "chosen"),
    [
        ({"fp32": 4.0, "bf16": 1.0}, {"bf16": 0.9995}, "bf16"),
        ({"fp32": 4.0, "bf16": 1.0}, {"bf16": 0.998}, "fp32"),
        ({"fp32": 4.0, "bf16": 1.0}, {"bf16": float("nan")}, "fp32"),
        ({"fp32": 4.0, "bf16": 3.9}, {"bf16": 1.0}, "fp32"),
        ({"fp32": 1.0, "bf16": 9.0}, {"bf16": 1.0}, "fp32"),
    ],
    ids=["faster", "disagrees", "not finite", "hardly faster", "slower"],
)
def test_auto_takes_the_fastest_precision_that_agrees(
    monkeypatch: pytest.MonkeyPatch, seconds: dict[str, float], cosines: dict[str, float], chosen: Precision
) -> None:
    def measured(tower: object, probes: object, device: object) -> tuple[np.ndarray, float]:
        precision = {torch.float32: "fp32", torch.bfloat16: "bf16"}[tower._dtype]  # type: ignore[attr-defined]
        return np.array([[cosines.get(precision, 1.0)]], np.float32), seconds[precision]

    monkeypatch.setattr(clip_backbone, "_timed", measured)
    backbone = backbone_of(tiny_source(), "auto")
    assert backbone.info.precision == "auto"

    backbone.settle()

    assert backbone.info.precision == chosen
    assert (
        next(backbone._tower._tower.parameters()).dtype
        == {"fp32": torch.float32, "bf16": torch.bfloat16}[chosen]
    )


def test_auto_is_measured_on_this_machine(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, clip_backbone.__name__)
    backbone = backbone_of(tiny_source(), "auto")

    backbone.settle()

    assert backbone.info.precision in {"fp32", "bf16"}
    assert [text.split(" on cpu")[0] for text in caplog.messages] == [
        "tinyclip-emoji in fp32",
        "tinyclip-emoji in bf16",
    ]


def test_a_device_that_is_not_there_is_refused() -> None:
    beyond = torch.cuda.device_count()
    with pytest.raises(SettingsError, match=f"The device cuda:{beyond} can't be had"):
        require_device(f"cuda:{beyond}")
    with pytest.raises(SettingsError, match="no device 'tpu'"):
        require_device("tpu")


def test_a_thread_that_prepares_too_embeds_with_the_threads_it_was_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backbone = ClipBackbone(tiny_source(), device="cpu", precision="fp32", threads=2)
    backbone.load()
    backbone.settle()
    counts: list[int] = []
    tower = backbone._tower

    def counted(pixels: torch.Tensor) -> torch.Tensor:
        counts.append(torch.get_num_threads())
        assert tower is not None
        return tower(pixels)

    monkeypatch.setattr(backbone, "_tower", counted)
    for _ in range(2):
        square = backbone.transform(np.zeros((90, 90, 3), np.uint8))
        backbone.embed([square])

    assert counts == [2, 2]


def test_each_thread_keeps_its_number_of_threads() -> None:
    counts: dict[int, int] = {}
    together = threading.Barrier(3)

    def ask(count: int) -> None:
        use_threads(count)
        together.wait(30)
        counts[count] = torch.get_num_threads()

    threads = [threading.Thread(target=ask, args=(count,)) for count in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert counts == {1: 1, 2: 2, 3: 3}


@pytest.mark.parametrize(
    ("name", "message"),
    [("text_projection", "encodes texts to numbers"), ("logit_scale", "has a logit scale")],
)
def test_a_text_tower_whose_answers_are_not_finite_is_refused_at_load(
    tmp_path: Path, name: str, message: str
) -> None:
    backbone = backbone_of(tiny_source())
    getattr(backbone.network.model, name).data.fill_(np.nan)
    head = ClipHead(backbone, load_policy().taxonomy, TextCache(tmp_path))
    with pytest.raises(WeightsError, match=rf"tinyclip-emoji\.safetensors {message} that .* not finite"):
        head.load()


def test_weights_of_another_network_are_refused() -> None:
    weights = tiny_source().locate().path
    source = own_source("ViT-B-32", weights)
    with pytest.raises(WeightsError, match=r"tinyclip-emoji.safetensors can't be loaded as ViT-B-32/openai"):
        backbone_of(source)


@pytest.mark.parametrize("name", ["broken.safetensors", "broken.pt"])
def test_a_broken_file_is_a_weights_error(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"no weights at all")
    with pytest.raises(WeightsError, match=name):
        backbone_of(own_source("ViT-B-32", tmp_path / name))


class Unpickled:
    """Would tell if a file of weights were unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return pytest.fail, ("The file was unpickled.",)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    torch.save({"state_dict": Unpickled()}, tmp_path / "evil.pt")
    with pytest.raises(WeightsError, match=r"evil\.pt"):
        backbone_of(own_source("ViT-B-32", tmp_path / "evil.pt"))


@pytest.mark.parametrize(
    ("model", "name", "tag"),
    [
        ("ViT-B-16", "ViT-B-16", "openai"),
        ("ViT-B/16", "ViT-B-16", "openai"),
        ("ViT-B-16/laion2b_s34b_b88k", "ViT-B-16", "laion2b_s34b_b88k"),
        ("ViT-B/16/none", "ViT-B-16", ""),
        ("ViT-B-16-SigLIP/webli", "ViT-B-16-SigLIP", "webli"),
        ("ViT-M-16", "ViT-M-16", ""),
    ],
)
def test_a_model_is_named_as_open_clip_names_it(model: str, name: str, tag: str) -> None:
    source = own_source(model, Path("weights.safetensors"))
    assert (source.name, source.tag) == (name, tag)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("ViT-Z-99", "open_clip has no network 'ViT-Z-99'"),
        ("ViT-B-16/nobody", "knows no weights 'nobody' of ViT-B-16"),
    ],
)
def test_a_model_that_open_clip_does_not_know_is_refused(model: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        own_source(model, Path("weights.safetensors"))


def test_weights_that_are_not_pinned_must_be_the_users_own() -> None:
    source = open_clip_source(
        "ViT-B-16/laion2b_s34b_b88k", own=None, setting="THE_SETTING", locate=no_artifact
    )
    with pytest.raises(WeightsError, match=r"No weights laion2b_s34b_b88k of ViT-B-16 .* THE_SETTING"):
        source.locate()


def test_open_clips_chatter_stays_out_of_the_logs(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    backbone_of(tiny_source())
    assert caplog.messages == []
