from pathlib import Path

import msgspec
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from streamapp.errors import WeightsError
from streamapp.models import nudenet
from streamapp.models.nudenet import NudeNet
from streamapp.models.store import find_artifact
from streamapp.policy import load_policy

PACKAGE_SHA256 = find_artifact("nudenet").sha256


def make(weights: Path | None = None) -> NudeNet:
    return NudeNet(weights=weights, channel_order="rgb", threads=1, policy=load_policy().nudenet)


def test_the_installed_package_carries_the_pinned_weights() -> None:
    model = make()
    model.check_weights()
    info = model.info
    assert (info.name, info.precision, info.device) == ("320n", "fp32", "cpu")
    assert info.weights_sha256 == PACKAGE_SHA256


def test_other_weights_in_the_package_s_place_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    other = msgspec.structs.replace(find_artifact("nudenet"), sha256="0" * 64)
    monkeypatch.setattr(nudenet, "find_artifact", lambda name: other)
    for method in (make().check_weights, make().load):
        with pytest.raises(WeightsError, match=rf"320n\.onnx.*{PACKAGE_SHA256}.*{'0' * 64}.*pip install"):
            method()


def test_missing_weights_of_the_user_s_name_the_setting(tmp_path: Path) -> None:
    path = tmp_path / "mine.onnx"
    with pytest.raises(WeightsError, match="STREAMAPP_NUDENET_WEIGHTS") as caught:
        make(weights=path).check_weights()
    assert str(path) in str(caught.value)


def test_the_user_s_own_weights_go_into_provenance_under_their_own_name(tmp_path: Path) -> None:
    path = tmp_path / "mine.onnx"
    path.write_bytes(b"any file")
    info = make(weights=path).info
    assert info.name == "mine"
    assert info.weights_sha256 != PACKAGE_SHA256


def test_a_network_with_other_inputs_and_outputs_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "identity.onnx"
    path.write_bytes(identity_network())
    with pytest.raises(WeightsError, match=r"identity\.onnx is no NudeNet v3 detector"):
        make(weights=path).load()


@pytest.mark.parametrize("shape", [(1, 3, 320, 320), ("batch", 3, 640, 640), ("batch", 1, 320, 320)])
def test_a_network_for_pictures_of_another_size_or_one_at_a_time_is_refused(
    tmp_path: Path, shape: tuple[int | str, ...]
) -> None:
    answer = numpy_helper.from_array(np.zeros((1, 22, 4), np.float32))
    graph = helper.make_graph(
        [helper.make_node("Constant", [], ["output0"], value=answer)],
        "always_the_same",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, (1, 22, 4))],
    )
    path = tmp_path / "mine.onnx"
    opset = helper.make_opsetid("", 17)
    path.write_bytes(helper.make_model(graph, opset_imports=[opset], ir_version=8).SerializeToString())
    with pytest.raises(WeightsError, match=r"mine\.onnx takes pictures .* expected \(batch, 3, 320, 320\)"):
        make(weights=path).load()


def identity_network() -> bytes:
    """A valid ONNX file, written by hand: ``images (1, 3)`` → ``output0``."""

    def nested(number: int, content: bytes) -> bytes:
        return bytes([number << 3 | 2, len(content)]) + content

    def number(field: int, value: int) -> bytes:
        return bytes([field << 3, value])

    shape = nested(1, number(1, 1)) + nested(1, number(1, 3))
    tensor = nested(1, number(1, 1) + nested(2, shape))
    node = nested(1, b"images") + nested(2, b"output0") + nested(4, b"Identity")
    graph = (
        nested(1, node)
        + nested(2, b"identity")
        + nested(11, nested(1, b"images") + nested(2, tensor))
        + nested(12, nested(1, b"output0") + nested(2, tensor))
    )
    return number(1, 8) + nested(7, graph) + nested(8, number(2, 17))
