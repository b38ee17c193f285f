import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from drawn_hand import middle_finger_picture
from mediapipe_weights import mediapipe_weights

from streamapp.errors import SettingsError, WeightsError
from streamapp.models import tflite_onnx
from streamapp.models.hands_geometry import Region, Tensor, cut, whole
from streamapp.models.hands_networks import LiteRtNetwork, Network, OnnxNetwork
from streamapp.models.tflite_onnx import tflite_to_onnx

SIDES = (192, 224)
WHICH = pytest.mark.parametrize("which", [0, 1], ids=["palm", "landmark"])


@pytest.fixture(scope="module")
def litert() -> list[Network]:
    pool = ThreadPoolExecutor(3)
    return [LiteRtNetwork(path, pool=pool, threads=3) for path in mediapipe_weights()]


@pytest.fixture(scope="module")
def onnx() -> list[Network]:
    return [onnx_network(path) for path in mediapipe_weights()]


def onnx_network(path: Path, device: str = "cpu") -> Network:
    content = tflite_to_onnx(path)
    return OnnxNetwork(content, what="The test network", device=device, threads=2, batch_sizes=(1, 2, 4))


def crops(side_px: int) -> list[Tensor]:
    """Seven different views of a hand."""
    picture = middle_finger_picture()
    regions = [whole(480, 480), *(Region(240, 250, 300 + 40 * n, 0.3 * n - 0.6) for n in range(6))]
    return [cut(picture, region, side_px, repeat_edges=True) for region in regions]


@WHICH
def test_the_rewritten_network_answers_like_the_original(
    litert: list[Network], onnx: list[Network], which: int
) -> None:
    inputs = crops(SIDES[which])
    # Logits, boxes and landmarks are in pixels or of their size; presence is in [0, 1].
    for original, rewritten in zip(litert[which](inputs), onnx[which](inputs), strict=True):
        assert original.shape == rewritten.shape and rewritten.dtype == np.float32
        np.testing.assert_allclose(rewritten, original, rtol=0, atol=1e-3)


@WHICH
@pytest.mark.parametrize("runtime", ["litert", "onnx"])
def test_inputs_are_answered_in_their_order_each_by_itself(
    request: pytest.FixtureRequest, runtime: str, which: int
) -> None:
    network: Network = request.getfixturevalue(runtime)[which]
    inputs = crops(SIDES[which])
    alone = [network([one]) for one in inputs]
    assert np.abs(alone[0][0] - alone[1][0]).max() > 1, "the inputs are too alike to prove an order"
    for order in ([2, 0, 1], [6, 5, 4, 3, 2, 1, 0], [3, 3]):
        for position, output in enumerate(network([inputs[index] for index in order])):
            expected = np.concatenate([alone[index][position] for index in order])
            np.testing.assert_allclose(output, expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("runtime", ["litert", "onnx"])
def test_no_inputs_are_no_answers(request: pytest.FixtureRequest, runtime: str) -> None:
    assert request.getfixturevalue(runtime)[0]([]) == []


def test_an_error_on_one_input_is_raised_when_the_interpreters_are_free_again() -> None:
    """The batcher repeats a batch that failed in halves, at once, on the same interpreters."""
    network = LiteRtNetwork(mediapipe_weights()[0], pool=ThreadPoolExecutor(2), threads=2)
    is_raised, has_ended = threading.Event(), threading.Event()

    def run(worker: int, one: Tensor) -> list[Tensor]:
        if worker == 0:
            raise ValueError("a bad input")
        is_raised.wait(0.3)
        has_ended.set()
        return [one]

    network._run = run  # type: ignore[method-assign]
    with pytest.raises(ValueError, match="a bad input"):
        network(crops(192)[:2])
    had_ended = has_ended.is_set()
    is_raised.set()
    assert had_ended


def test_a_file_that_is_no_network_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.tflite"
    path.write_bytes(b"no network at all")
    with pytest.raises(WeightsError, match=r"broken\.tflite can't be loaded by LiteRT"):
        LiteRtNetwork(path, pool=ThreadPoolExecutor(1), threads=1)
    with pytest.raises(WeightsError, match=r"broken\.tflite is no tflite network"):
        tflite_to_onnx(path)


def test_an_operator_that_is_not_rewritten_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(tflite_onnx._OPERATORS, tflite_onnx.schema.BuiltinOperator.PRELU)
    with pytest.raises(WeightsError, match=r"can't be rewritten to ONNX: operator 54"):
        tflite_to_onnx(mediapipe_weights()[0])


def test_content_that_is_no_onnx_network_is_named() -> None:
    with pytest.raises(WeightsError, match="The test network can't be loaded"):
        OnnxNetwork(b"no network", what="The test network", device="cpu", threads=1, batch_sizes=(1,))


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(SettingsError, match="abacus"):
        onnx_network(mediapipe_weights()[0], device="abacus")
