"""benchmarks/gpu.py on the CPU: what it prints on the day that there is a GPU, line for line."""

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fakes import frame_of

from streamapp.models.clip_backbone import ClipBackbone
from streamapp.models.clip_setup import embedder_specs
from streamapp.models.runner import ModelRunner
from streamapp.policy import load_policy
from streamapp.settings import Settings

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "benchmarks"))
import gpu_failures  # noqa: E402  (the benchmarks are scripts and no package)

FRAMES = [frame_of(value) for value in range(16)]
MEASURED = {"benchmark", "kind", "model", "device", "precision"}
RATES = {"infer_per_s", "rate", "prepare_cpu_ms", "infer_cpu_ms", "finish_cpu_ms"}
KEYS = {
    "machine": {"benchmark", "kind", "processor", "cores", "python", "versions", "device", "providers"},
    "start": MEASURED | {"load_s", "warm_up_s"},
    "auto": MEASURED | {"load_s", "warm_up_s"},
    "equality": MEASURED | {"max_difference", "holds"},
    "model": MEASURED | {"batch"} | RATES,
    "turns": MEASURED | {"batch", "apart_s", "in_turns_s"},
    "stage": {"benchmark", "kind", "devices", "precision", "batch", "look_per_s", "prepare_and_look_per_s"},
    "unavailable": {"benchmark", "kind", "what", "why"},
}
MORE_KEYS = {
    "tiny": {"min_cosine", "nearest_other_cosine", "max_output_difference"},
    "ViT-S-32-alt": {"min_cosine", "nearest_other_cosine", "max_output_difference"},
    "nudenet": {"detections", "same_detections"},
}
TIMEOUT_S = 300  # so that a hang ends; seconds are enough


def gpu_benchmark(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, cwd=ROOT)


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """A quick run without the hand networks, which are not everywhere."""
    done = gpu_benchmark("--device", "cpu", "--quick", "--mfd", str(tmp_path_factory.mktemp("no-mfd")))
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_each_line_has_the_keys_of_its_kind(lines: list[dict[str, Any]]) -> None:
    for line in lines:
        expected = KEYS[line["kind"]]
        if line["kind"] == "equality":
            expected = expected | MORE_KEYS[line["model"]]
        assert line.keys() == expected


def test_every_network_in_every_precision_is_checked_and_measured(lines: list[dict[str, Any]]) -> None:
    networks = {("nudenet", "fp32")} | {
        (model, precision) for model in ("tiny", "ViT-S-32-alt") for precision in ("fp32", "bf16")
    }
    for kind in ("start", "equality", "model", "turns"):
        assert {(line["model"], line["precision"]) for line in lines if line["kind"] == kind} == networks
    assert all(line["holds"] for line in lines if line["kind"] == "equality")


def test_the_precision_that_a_worker_would_take_is_told(lines: list[dict[str, Any]]) -> None:
    (line,) = [line for line in lines if line["kind"] == "auto"]
    assert (line["model"], line["precision"] in {"fp32", "bf16"}) == ("ViT-S-32-alt", True)


def test_the_stage_is_measured_in_every_precision_with_and_without_the_other_models(
    lines: list[dict[str, Any]],
) -> None:
    stages = [(line["precision"], list(line["devices"])) for line in lines if line["kind"] == "stage"]
    both = (["clip+coop"], ["clip+coop", "nudenet"])
    assert stages == [(precision, names) for precision in ("fp32", "bf16") for names in both]
    assert all(line["look_per_s"] > 0 for line in lines if line["kind"] == "stage")


def test_a_model_without_weights_is_said_to_be_left_out(lines: list[dict[str, Any]]) -> None:
    (line,) = [line for line in lines if line["kind"] == "unavailable"]
    assert line["what"] == "MFD"
    assert "palm" in line["why"]


def test_a_device_that_is_not_there_is_refused_in_one_line() -> None:
    done = gpu_benchmark("--device", "cuda:99")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "cuda:99 can't be had" in done.stderr.splitlines()[-1]


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where CLIP's encoded texts are kept, so that they are encoded once."""
    return tmp_path_factory.mktemp("texts")


@asynccontextmanager
async def tiny_runner(folder: Path) -> AsyncIterator[ModelRunner]:
    settings = Settings(models="clip", clip_model="tiny", clip_precision="fp32", model_cache=folder)
    (spec,) = embedder_specs(settings, load_policy().taxonomy).values()
    limits = {"max_queued": 64, "max_wait_s": 0.1, "timeout_s": 60.0}
    with ThreadPoolExecutor(1) as cpu:
        async with ModelRunner(spec.make, cpu, instances=1, **limits) as runner:
            yield runner


class Gpu:
    """Stands in for a GPU that runs out of memory with more than 8 pictures at once, or is lost."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_full = self.is_lost = False
        embed = ClipBackbone.embed

        def embed_here(backbone: ClipBackbone, squares: Sequence[Any]) -> Any:
            if self.is_lost:
                raise RuntimeError("CUDA error: device-side assert triggered")
            if self.is_full and len(squares) > 8:
                raise MemoryError
            return embed(backbone, squares)

        monkeypatch.setattr(ClipBackbone, "embed", embed_here)


@pytest.mark.parametrize("has_no_room", [True, False])
async def test_pictures_that_have_no_room_are_seen_to_be_answered(
    monkeypatch: pytest.MonkeyPatch, texts: Path, has_no_room: bool
) -> None:
    gpu = Gpu(monkeypatch)
    async with tiny_runner(texts) as runner:
        line = await gpu_failures.no_room(runner, FRAMES, lambda: setattr(gpu, "is_full", has_no_room))

    assert line == {"answered": 16, "failed_batches": int(has_no_room), "holds": has_no_room}


@pytest.mark.parametrize("is_lost", [True, False])
async def test_a_device_that_is_lost_is_seen_to_end_the_worker(
    monkeypatch: pytest.MonkeyPatch, texts: Path, is_lost: bool
) -> None:
    gpu = Gpu(monkeypatch)
    async with tiny_runner(texts) as runner:
        line = await gpu_failures.lost(runner, FRAMES, lambda: setattr(gpu, "is_lost", is_lost))

    outcome = "DeviceLostError" if is_lost else "FrameResult"
    assert line == {"outcomes": {outcome: 16}, "holds": is_lost}


def test_failures_that_can_not_be_looked_at_do_not_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "false")
    (line,) = gpu_failures.failures("cuda", "ViT-B-16", Path("weights.safetensors"))
    assert line == {"kind": "lost", "why": "gpu_failures.py ended with 1", "holds": False}
