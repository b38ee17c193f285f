import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnxruntime.capi._pybind_state import EPFail

from streamapp.errors import SettingsError, WeightsError
from streamapp.models import onnx_session
from streamapp.models.onnx_session import chosen_device, open_session
from streamapp.models.store import Store
from streamapp.settings import Settings


def test_a_file_that_is_no_network_is_named(tmp_path: Path) -> None:
    path = tmp_path / "text.onnx"
    path.write_text("not a network")
    with pytest.raises(WeightsError, match=r"The test weights at .*text\.onnx can't be loaded"):
        open_session(path, what="The test weights", threads=1, device="cpu")


@pytest.mark.parametrize("device", ["gpu", "cuda:first", "", "cpu:0"])
def test_a_device_that_does_not_exist_is_refused(tmp_path: Path, device: str) -> None:
    with pytest.raises(SettingsError, match="no device"):
        open_session(tmp_path, what="The test weights", threads=1, device=device)


def test_a_device_that_this_onnxruntime_has_not_is_refused_and_not_replaced_by_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_session.ort, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(SettingsError, match="onnxruntime-gpu"):
        open_session(tmp_path, what="The test weights", threads=1, device="cuda:0")


@pytest.mark.parametrize(
    ("setting", "providers", "device"),
    [
        ("auto", ["CPUExecutionProvider"], "cpu"),
        ("auto", ["CUDAExecutionProvider", "CPUExecutionProvider"], "cuda:0"),
        ("cuda", ["CPUExecutionProvider"], "cuda:0"),
        ("cpu", ["CUDAExecutionProvider", "CPUExecutionProvider"], "cpu"),
        ("cuda:1", ["CPUExecutionProvider"], "cuda:1"),
    ],
)
def test_auto_means_cuda_where_onnxruntime_has_it_and_anything_else_is_strict(
    monkeypatch: pytest.MonkeyPatch, setting: str, providers: list[str], device: str
) -> None:
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: providers)

    assert chosen_device(setting) == device


class FailedDevice:
    """What is beneath a session, on a device that has failed."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def run(self, *_: Any) -> None:
        raise EPFail("the device is gone")


def test_a_device_that_fails_is_an_error_and_the_cpu_does_not_take_over() -> None:
    path = Store(Settings()).locate("nudenet").path
    session = open_session(path, what="The test weights", threads=1, device="cpu")
    session._sess = FailedDevice(session._sess)
    with pytest.raises(EPFail):
        session.run(None, {"images": np.zeros((1, 3, 320, 320), np.float32)})


@pytest.mark.parametrize("wanted", [False, True])
def test_onnxruntime_reports_nothing_to_its_maker_unless_somebody_wants_it(
    tmp_path: Path, wanted: bool
) -> None:
    code = (
        "from streamapp.models.onnx_session import open_session\n"
        "import pathlib, sysconfig\n"
        "weights = pathlib.Path(sysconfig.get_path('purelib'), 'nudenet', '320n.onnx')\n"
        "open_session(weights, what='It', threads=1, device='cpu')\n"
    )
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    if wanted:
        environment["ORT_DISABLE_TELEMETRY"] = "0"
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=120)

    # Where it keeps what it is about to send; the second case shows that this test looks in the right place.
    assert (tmp_path / ".cache/Microsoft").exists() == wanted
