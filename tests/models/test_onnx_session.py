import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from onnxruntime.capi._pybind_state import EPFail

from streamapp.errors import SettingsError, WeightsError
from streamapp.models import cuda_driver, onnx_session
from streamapp.models.onnx_session import BatchSessions, chosen_device, open_session
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


ON_CPU = ["CPUExecutionProvider"]
ON_CUDA = ["CUDAExecutionProvider", *ON_CPU]


class Driver:
    """NVIDIA's driver, as far as it is asked."""

    def __init__(self, *, devices: int, error: int = 0) -> None:
        self._devices = devices
        self._error = error

    def cuInit(self, flags: int) -> int:
        return self._error

    def cuDeviceGetCount(self, count: Any) -> int:
        count._obj.value = self._devices
        return 0


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[list[str], Driver | None], None]]:
    """Sets the providers that onnxruntime was built with, and the driver; None: there is none."""

    def set_up(providers: list[str], driver: Driver | None) -> None:
        def load(name: str) -> Driver:
            assert name == "libcuda.so.1"
            if driver is None:
                raise OSError(f"{name}: cannot open shared object file")
            return driver

        monkeypatch.setattr(onnx_session.ort, "get_available_providers", lambda: providers)
        monkeypatch.setattr(cuda_driver.ctypes, "CDLL", load)

    cuda_driver.device_count.cache_clear()
    yield set_up
    cuda_driver.device_count.cache_clear()


@pytest.mark.parametrize(
    ("setting", "providers", "driver", "device"),
    [
        ("auto", ON_CPU, Driver(devices=1), "cpu"),
        ("auto", ON_CUDA, Driver(devices=1), "cuda:0"),
        ("auto", ON_CUDA, Driver(devices=0), "cpu"),
        ("auto", ON_CUDA, Driver(devices=1, error=999), "cpu"),
        ("auto", ON_CUDA, None, "cpu"),
        ("cuda", ON_CPU, None, "cuda:0"),
        ("cpu", ON_CUDA, Driver(devices=1), "cpu"),
        ("cuda:1", ON_CUDA, None, "cuda:1"),
    ],
)
def test_auto_means_cuda_where_it_is_and_anything_else_is_strict(
    pretend: Callable[[list[str], Driver | None], None],
    setting: str,
    providers: list[str],
    driver: Driver | None,
    device: str,
) -> None:
    pretend(providers, driver)

    assert chosen_device(setting) == device


def test_an_onnxruntime_for_cuda_that_runs_on_the_cpu_is_told_of(
    pretend: Callable[[list[str], Driver | None], None], caplog: pytest.LogCaptureFixture
) -> None:
    pretend(ON_CUDA, None)

    chosen_device("auto")
    assert caplog.messages == [
        "This onnxruntime is built for CUDA, but there is no CUDA device: it runs on the CPU."
    ]


def test_cuda_is_asked_for_without_the_costly_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_session.ort, "get_available_providers", lambda: ON_CUDA)
    monkeypatch.setattr(onnx_session.ort, "preload_dlls", lambda: None)
    asked: dict[str, Any] = {}

    def session(*_: Any, **options: Any) -> Any:
        asked.update(options)
        return SimpleNamespace(get_providers=lambda: ON_CUDA)

    monkeypatch.setattr(onnx_session.ort, "InferenceSession", session)
    open_session(b"", what="It", threads=1, device="cuda:1")

    assert asked == {
        "providers": [
            (
                "CUDAExecutionProvider",
                {
                    "device_id": "1",
                    "cudnn_conv_algo_search": "HEURISTIC",
                    "arena_extend_strategy": "kSameAsRequested",
                },
            )
        ],
        "enable_fallback": False,
    }


def test_a_session_that_onnxruntime_puts_on_the_cpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_session.ort, "get_available_providers", lambda: ON_CUDA)
    monkeypatch.setattr(onnx_session.ort, "preload_dlls", lambda: None)
    monkeypatch.setattr(
        onnx_session.ort, "InferenceSession", lambda *_, **__: SimpleNamespace(get_providers=lambda: ON_CPU)
    )
    with pytest.raises(SettingsError, match="could not start on cuda:1"):
        open_session(b"", what="It", threads=1, device="cuda:1")


def test_a_driver_that_fails_is_not_blamed_on_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    def session(*_: Any, **__: Any) -> None:
        # As onnxruntime-gpu 1.31.1 says it where the driver is too old.
        raise RuntimeError(
            "/onnxruntime_src/cuda_execution_provider_info.cc:63 [ONNXRuntimeError] : 1 : FAIL : "
            "CUDA failure 36: API call is not supported in the installed CUDA driver ; GPU=-1 ; hostname=vm"
        )

    monkeypatch.setattr(onnx_session.ort, "get_available_providers", lambda: ON_CUDA)
    monkeypatch.setattr(onnx_session.ort, "preload_dlls", lambda: None)
    monkeypatch.setattr(onnx_session.ort, "InferenceSession", session)
    with pytest.raises(SettingsError) as raised:
        open_session(b"", what="It", threads=1, device="cuda")

    failure = "CUDA failure 36: API call is not supported in the installed CUDA driver"
    assert str(raised.value) == f"The device cuda can't be had: {failure}."


@pytest.mark.parametrize(
    ("device", "sessions"), [("cpu", {0: [1, 4, 2, 3]}), ("cuda", {0: [1], 1: [2], 2: [4, 3]})]
)
def test_on_cuda_each_batch_size_has_a_session_that_sees_no_other(
    monkeypatch: pytest.MonkeyPatch, device: str, sessions: dict[int, list[int]]
) -> None:
    seen: dict[int, list[int]] = {}
    real = open_session

    class Watched:
        def __init__(self, session: Any, number: int) -> None:
            self._session = session
            self._seen = seen.setdefault(number, [])

        def get_inputs(self) -> Any:
            return self._session.get_inputs()

        def run(self, names: None, inputs: dict[str, Any]) -> Any:
            self._seen.extend(len(each) for each in inputs.values())
            return self._session.run(names, inputs)

    def opened(network: Path, *, device: str, **rest: Any) -> Watched:
        return Watched(real(network, device="cpu", **rest), len(seen))

    monkeypatch.setattr(onnx_session, "open_session", opened)
    path = Store(Settings()).locate("nudenet").path
    network = BatchSessions(path, what="It", threads=1, device=device, batch_sizes=(1, 2, 4))
    for size in (1, 4, 2, 3):
        (output,) = network.run(np.zeros((size, 3, 320, 320), np.float32))
        assert len(output) == size

    assert seen == sessions


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
