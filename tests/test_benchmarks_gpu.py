"""benchmarks/gpu.py on the CPU: what it prints on the day that there is a GPU, line for line."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
MEASURED = {"benchmark", "kind", "model", "device", "precision"}
RATES = {"infer_per_s", "rate", "prepare_cpu_ms", "infer_cpu_ms", "finish_cpu_ms"}
KEYS = {
    "machine": {"benchmark", "kind", "processor", "cores", "python", "versions", "device", "providers"},
    "equality": MEASURED | {"max_difference", "holds"},
    "model": MEASURED | {"batch"} | RATES,
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
    for kind in ("equality", "model"):
        assert {(line["model"], line["precision"]) for line in lines if line["kind"] == kind} == networks
    assert all(line["holds"] for line in lines if line["kind"] == "equality")


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
