"""CLIP and CoOp in the ensemble: one network for both, findings by the taxonomy, failures alone."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from streamapp.errors import ModelError, SettingsError, WeightsError
from streamapp.media import Frame
from streamapp.models import clip_setup
from streamapp.models.clip import ImageEmbedder
from streamapp.models.clip_backbone import ClipBackbone
from streamapp.models.clip_setup import device_for
from streamapp.models.ensemble import Ensemble
from streamapp.models.registry import build_ensemble, build_models, model_specs
from streamapp.policy import categorise, load_policy
from streamapp.reasons import Reason, Status
from streamapp.settings import Settings

TINY = {"clip_model": "tiny", "coop_model": "tiny", "clip_precision": "fp32", "clip_threads": 1}
POLICY = load_policy()
TAXONOMY = POLICY.taxonomy


@pytest.fixture
def cpu() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as executor:
        yield executor


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def settings_of(cache: Path, models: str = "clip,coop", **changes: object) -> Settings:
    return Settings(models=models, model_cache=cache, batch_wait_s=0.0, **(TINY | changes))


def embedder(settings: Settings) -> ImageEmbedder:
    (network,) = build_models(settings, POLICY)
    assert isinstance(network, ImageEmbedder)
    network.check_weights()
    network.load()
    network.warm_up()
    return network


def frame_of(seed: int, height: int = 90, width: int = 120) -> Frame:
    generator = np.random.default_rng(seed)
    cells = generator.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
    return Frame(cells.repeat(8, 0).repeat(8, 1)[:height, :width].copy())


class Embeddings:
    """Counts the runs of every backbone and the pictures in them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pictures: list[int] = []
        embed = ClipBackbone.embed

        def counted(backbone: ClipBackbone, squares: list[np.ndarray]) -> np.ndarray:
            self.pictures.append(len(squares))
            return embed(backbone, squares)

        monkeypatch.setattr(ClipBackbone, "embed", counted)


@asynccontextmanager
async def ensemble_of(settings: Settings, cpu: ThreadPoolExecutor) -> AsyncIterator[Ensemble]:
    async with build_ensemble(settings, POLICY, cpu) as ensemble, asyncio.timeout(60):
        yield ensemble


async def test_both_heads_on_one_backbone_run_it_once(
    cache: Path, cpu: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    embeddings = Embeddings(monkeypatch)
    async with ensemble_of(settings_of(cache), cpu) as ensemble:
        embeddings.pictures.clear()
        reports = await ensemble.look(ensemble.prepare([frame_of(1), frame_of(2), frame_of(3)]))

    assert sum(embeddings.pictures) == 3
    assert [report.name for report in reports] == ["clip", "coop"]
    assert all(report.outcome.succeeded for report in reports)
    assert [report.info.name for report in reports] == ["tinyclip-emoji", "tinyclip-emoji, zero-shot"]


async def test_the_verdicts_are_the_taxonomys_rules_on_the_findings_of_every_frame(
    cache: Path, cpu: ThreadPoolExecutor
) -> None:
    settings = settings_of(cache)
    network = embedder(settings)
    frames = [frame_of(1), frame_of(2)]
    prepared = [network.prepare(frame) for frame in frames]
    findings = [network.finish(network.infer([one])[0], one) for one in prepared]
    expected = categorise(TAXONOMY, [f["coop"] for f in findings], [f["clip"] for f in findings])

    async with ensemble_of(settings, cpu) as ensemble:
        clip, coop = await ensemble.look(ensemble.prepare(frames))

    assert clip.outcome.verdict is not None
    assert clip.outcome.verdict.primary_categories == expected.primary
    assert clip.outcome.verdict.secondary_categories == expected.secondary
    assert clip.outcome.verdict.to_be_moderated == expected.is_moderated
    assert clip.outcome.verdict.columns == {
        "PREDICTED_TOP3_PRIMARY_CATEGORY": ", ".join(expected.top3_primary),
        "PREDICTED_TOP3_SECONDARY_CATEGORY": ", ".join(expected.top3_secondary),
    }
    # The categories are in CLIP's verdict, and there alone.
    assert coop.outcome.verdict is not None
    assert not coop.outcome.verdict.columns
    assert not coop.outcome.verdict.primary_categories
    assert [len(described) for described in (*clip.detections, *coop.detections)] == [3, 3, 3, 3]


@pytest.mark.parametrize("alone", ["clip", "coop"])
async def test_one_without_the_other_gives_the_categories(
    cache: Path, cpu: ThreadPoolExecutor, alone: str
) -> None:
    async with ensemble_of(settings_of(cache, alone), cpu) as ensemble:
        (report,) = await ensemble.look(ensemble.prepare([frame_of(5)]))

    verdict = report.outcome.verdict
    assert verdict is not None
    assert verdict.primary_categories
    assert bool(verdict.secondary_categories) == (alone == "clip")
    assert not report.outcome.to_be_moderated or alone == "clip"


def test_findings_have_the_sizes_of_the_taxonomy(cache: Path) -> None:
    network = embedder(settings_of(cache))
    prepared = network.prepare(frame_of(1))

    finding = network.finish(network.infer([prepared])[0], prepared)

    assert finding["clip"].shape == (len(TAXONOMY.secondaries),)
    assert finding["coop"].shape == (len(TAXONOMY.classes),)
    assert {array.dtype for array in finding.values()} == {np.dtype(np.float32)}
    assert finding["coop"].sum() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 5000), (5000, 1), (1280, 1280)], ids=["pixel", "wide", "high", "black"]
)
async def test_a_degenerate_frame_gets_a_verdict(
    cache: Path, cpu: ThreadPoolExecutor, shape: tuple[int, int]
) -> None:
    async with ensemble_of(settings_of(cache), cpu) as ensemble:
        reports = await ensemble.look(ensemble.prepare([Frame(np.zeros((*shape, 3), np.uint8))]))

    assert [report.outcome.status for report in reports] == [Status.PREDICTED] * 2


async def test_numbers_that_are_not_finite_fail_that_picture_alone(
    cache: Path, cpu: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed = ClipBackbone.embed

    def broken(backbone: ClipBackbone, squares: list[np.ndarray]) -> np.ndarray:
        embedded = embed(backbone, squares).copy()
        embedded[[int(square.max()) == 0 for square in squares]] = np.nan
        return embedded

    async with ensemble_of(settings_of(cache), cpu) as ensemble:
        monkeypatch.setattr(ClipBackbone, "embed", broken)
        black = Frame(np.zeros((64, 64, 3), np.uint8))
        bad, good = await asyncio.gather(
            ensemble.look(ensemble.prepare([black])), ensemble.look(ensemble.prepare([frame_of(1)]))
        )

    assert [report.reason for report in bad] == [Reason.MODEL_NOT_FINITE] * 2
    assert [report.outcome.status for report in bad] == [Status.MODEL_RAISED] * 2
    assert [report.outcome.to_be_moderated for report in bad] == [True, False]
    assert all(report.outcome.succeeded for report in good)


def test_a_finding_that_is_not_finite_is_an_error(cache: Path) -> None:
    network = embedder(settings_of(cache))
    prepared = network.prepare(frame_of(1))
    with pytest.raises(ModelError) as caught:
        network.finish(np.full(128, np.inf, np.float32), prepared)
    assert caught.value.reason is Reason.MODEL_NOT_FINITE


@pytest.mark.parametrize(
    ("models", "changes", "networks"),
    [
        ("clip,coop", {}, ["clip+coop"]),
        ("nudenet,coop,clip", {}, ["nudenet", "coop+clip"]),
        ("clip", {}, ["clip"]),
        ("clip,coop", {"clip_model": "ViT-B-16", "coop_model": "ViT-B/16"}, ["clip+coop"]),
        ("clip,coop", {"clip_model": "ViT-B-32", "coop_model": "ViT-B-16"}, ["clip", "coop"]),
        (
            "clip,coop",
            {"clip_model": "ViT-B-16", "coop_model": "ViT-B-16", "clip_weights": "own.safetensors"},
            ["clip+coop"],
        ),
        (
            "clip,coop",
            {"clip_model": "ViT-B-16", "coop_model": "ViT-B-16", "coop_clip_weights": "own.safetensors"},
            ["clip", "coop"],
        ),
    ],
    ids=["one", "order", "alone", "spelling", "old pairing", "own weights of both", "own weights of one"],
)
def test_heads_share_a_network_exactly_where_the_backbone_is_the_same(
    cache: Path, models: str, changes: dict[str, object], networks: list[str]
) -> None:
    assert list(model_specs(settings_of(cache, models, **changes), POLICY)) == networks


def test_instances_of_the_old_deployment_share_the_weights(cache: Path) -> None:
    settings = settings_of(cache, clip_instances=3)
    (spec,) = model_specs(settings, POLICY).values()

    assert spec.instances == 1
    assert spec.make().lanes == 3


async def test_weights_are_loaded_once_for_all_lanes(
    cache: Path, cpu: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[str] = []
    load = ClipBackbone.load

    def counted(backbone: ClipBackbone) -> None:
        loads.append(backbone.source.name)
        load(backbone)

    monkeypatch.setattr(ClipBackbone, "load", counted)
    async with ensemble_of(settings_of(cache, clip_instances=3), cpu):
        pass

    assert loads == ["tinyclip-emoji"]


async def test_several_lanes_answer_each_picture_with_its_own(cache: Path, cpu: ThreadPoolExecutor) -> None:
    async with ensemble_of(settings_of(cache), cpu) as ensemble:
        alone = [await ensemble.look(ensemble.prepare([frame_of(seed)])) for seed in range(12)]
    async with ensemble_of(settings_of(cache, clip_instances=3), cpu) as ensemble:
        together = await asyncio.gather(
            *(ensemble.look(ensemble.prepare([frame_of(seed)])) for seed in range(12))
        )

    for one, other in zip(alone, together, strict=True):
        assert [report.outcome.verdict for report in one] == [report.outcome.verdict for report in other]


@pytest.mark.parametrize(
    ("changes", "has_gpu", "device"),
    [
        ({}, True, "cpu"),
        ({"clip_gpu_share": 0.5}, True, "cuda"),
        ({"clip_gpu_share": 0.5}, False, "cpu"),
        ({"clip_device": "auto"}, True, "cuda"),
        ({"clip_device": "auto"}, False, "cpu"),
        ({"clip_device": "CUDA:1"}, False, "cuda:1"),
        ({"clip_device": "cpu", "clip_gpu_share": 0.5}, True, "cpu"),
    ],
)
def test_the_device_is_the_one_asked_for_or_what_there_is(
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    changes: dict[str, object],
    has_gpu: bool,
    device: str,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    caplog.set_level(logging.WARNING, clip_setup.__name__)

    assert device_for(settings_of(cache, **changes)) == device

    fell_back = device == "cpu" and "clip_gpu_share" in changes and "clip_device" not in changes
    assert bool(caplog.messages) == fell_back


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has the device")
def test_an_explicit_device_that_is_not_there_stops_the_worker(cache: Path) -> None:
    with pytest.raises(SettingsError, match="The device cuda can't be had"):
        build_models(settings_of(cache, clip_device="cuda"), POLICY)


def test_weights_that_are_missing_are_told_with_the_command_that_fetches_them(tmp_path: Path) -> None:
    (network,) = build_models(settings_of(tmp_path, clip_model="ViT-B-16", coop_model="ViT-B-16"), POLICY)
    with pytest.raises(WeightsError, match=r"streamapp models fetch clip-vit-b-16"):
        network.check_weights()


def test_a_bucket_without_fetched_prompts_stops_the_worker(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "coop", coop_model="ViT-B-16", ai_model_bucket="models")
    source = clip_setup.clip_source(settings, "coop")
    locate = clip_setup.coop_weights(settings, source)
    assert locate is not None
    with pytest.raises(WeightsError, match=r"streamapp models fetch coop"):
        locate()


def test_the_old_deployments_prompts_are_not_taken_for_another_backbone(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, ai_model_bucket="models")
    assert clip_setup.coop_weights(settings, clip_setup.clip_source(settings, "coop")) is None
