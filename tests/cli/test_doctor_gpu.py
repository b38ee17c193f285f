"""What `streamapp doctor` says of GPUs; on a machine without one, from what the libraries would say."""

import sys
from pathlib import Path

import numpy as np
import pytest

from streamapp.cli.doctor_checks import State
from streamapp.cli.doctor_gpu import (
    ADDITION,
    Seen,
    check_gpu,
    gpus_of_driver,
    gpus_of_torch,
    judge_gpus,
    onnxruntime_problem,
)
from streamapp.models.onnx_session import open_session

T4 = Seen(("Tesla T4, 15360 MiB",))
TORCH_T4 = Seen(("Tesla T4, 14.6 GiB",))


def nvidia_smi(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def test_no_gpu_is_fine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("streamapp.cli.doctor_gpu.gpus_of_torch", lambda: Seen(problem="It is torch 2."))
    check = check_gpu()

    assert (check.state, check.detail) == (State.OK, "No CUDA device: models run on the CPU.")


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in for nvidia-smi is a shell script")
def test_the_driver_s_gpus_are_those_of_nvidia_smi(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    nvidia_smi(tmp_path, "echo 'Tesla T4, 15360 MiB'", monkeypatch)
    assert gpus_of_driver() == T4
    nvidia_smi(tmp_path, "exit 9", monkeypatch)
    assert gpus_of_driver().problem.startswith("nvidia-smi fails: ")


@pytest.mark.parametrize(
    ("driver", "torch_sees", "onnx_problem", "state", "told"),
    [
        (T4, TORCH_T4, "", State.OK, "torch sees Tesla T4, 14.6 GiB; onnxruntime runs on CUDA."),
        (T4, TORCH_T4, "No CUDA in it.", State.WARN, "14.6 GiB; onnxruntime does not: No CUDA in it."),
        (
            T4,
            Seen(problem="It is torch 2+cpu."),
            "",
            State.WARN,
            "nvidia-smi lists Tesla T4, 15360 MiB, but torch sees none. It is torch 2+cpu.",
        ),
        (Seen(problem="nvidia-smi fails: x."), Seen(), "", State.WARN, "nvidia-smi fails: x."),
        # In some containers that program is missing, and CUDA works.
        (Seen(), TORCH_T4, "", State.OK, "torch sees Tesla T4, 14.6 GiB; onnxruntime runs on CUDA."),
    ],
)
def test_a_gpu_that_not_everyone_can_use_warns(
    driver: Seen, torch_sees: Seen, onnx_problem: str, state: State, told: str
) -> None:
    check = judge_gpus(driver, torch_sees, onnx_problem)

    assert (check.state, bool(check.remedy)) == (state, state is State.WARN)
    assert check.detail.endswith(told)


def test_torch_and_onnxruntime_are_asked_themselves() -> None:
    torch_sees = gpus_of_torch()

    assert bool(torch_sees.gpus) != bool(torch_sees.problem)
    assert torch_sees.gpus or "onnxruntime-gpu" in onnxruntime_problem()


def test_the_network_that_cuda_is_tried_with_is_one() -> None:
    session = open_session(ADDITION, what="it", threads=1, device="cpu")

    assert session.run(None, {"x": np.array([3], np.float32)})[0] == 6
