import os
import pickle
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from model_sources import torchscript_archive, zipped
from safetensors.numpy import load_file

from streamapp.errors import WeightsError
from streamapp.models.store.torchscript import convert_torchscript

VALUES = np.arange(6, dtype=np.float32).tobytes()

SAVE_A_MODULE = """
import sys, warnings
warnings.simplefilter("ignore")
import numpy as np
import torch
from torch import nn

class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2)
        self.norm = nn.LayerNorm(8)
        self.not_state = torch.ones(3)

    def forward(self, x):
        return self.norm(self.attention(x, x, x, need_weights=False)[0]) + self.not_state.sum()

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.Sequential(Block(), Block())
        self.scale = nn.Parameter(torch.tensor(4.6))
        self.transposed = nn.Parameter(torch.randn(6, 4).t())
        self.register_buffer("count", torch.tensor(3))
        self.register_buffer("input_resolution", torch.tensor(224))

    def forward(self, x):
        return self.blocks(x) * self.scale + self.transposed.sum() + self.count

net = torch.jit.script(Net().eval().half())
net.save(sys.argv[1])
np.savez(sys.argv[2], **{name: t.numpy() for name, t in torch.jit.load(sys.argv[1]).state_dict().items()})
"""


def convert(tmp_path: Path, content: bytes) -> dict[str, np.ndarray]:
    archive, target = tmp_path / "net.pt", tmp_path / "net.safetensors"
    archive.write_bytes(content)
    convert_torchscript(archive, target)
    return load_file(target)


@pytest.mark.skipif(find_spec("torch") is None, reason="torch writes the archive of this test")
def test_a_module_that_torch_saved_has_the_same_state_as_torch_itself_reads(tmp_path: Path) -> None:
    script, archive, state = (tmp_path / name for name in ("save.py", "net.pt", "state.npz"))
    # In a process of its own: torch.jit warns that it is deprecated, and warnings are errors here.
    script.write_text(SAVE_A_MODULE)
    subprocess.run([sys.executable, script, archive, state], check=True, timeout=60)

    convert_torchscript(archive, tmp_path / "net.safetensors")

    converted = load_file(tmp_path / "net.safetensors")
    expected = dict(np.load(state))
    assert expected.pop("input_resolution") == 224  # no weight, see OpenAI's archives
    assert sorted(converted) == sorted(expected)
    assert "blocks.1.attention.in_proj_weight" in converted
    for name, tensor in expected.items():
        assert converted[name].dtype == tensor.dtype
        np.testing.assert_array_equal(converted[name], tensor)


def test_strides_and_offsets_are_followed(tmp_path: Path) -> None:
    tensors = convert(tmp_path, torchscript_archive(VALUES, shape=(2, 2), strides=(1, 2), offset=1))
    np.testing.assert_array_equal(tensors["w"], [[1, 3], [2, 4]])


def test_the_same_archive_gives_the_same_bytes(tmp_path: Path) -> None:
    content = torchscript_archive(VALUES, shape=(6,), strides=(1,))
    convert(tmp_path, content)
    first = (tmp_path / "net.safetensors").read_bytes()
    convert(tmp_path, content)
    assert (tmp_path / "net.safetensors").read_bytes() == first


@pytest.mark.parametrize(
    ("shape", "strides", "offset"),
    [((7,), (1,), 0), ((6,), (1,), 1), ((2,), (2**30,), 0), ((2,), (-1,), 3), ((2,), (1,), -1)],
)
def test_a_tensor_beyond_its_storage_is_refused(
    tmp_path: Path, shape: tuple[int, ...], strides: tuple[int, ...], offset: int
) -> None:
    with pytest.raises(WeightsError, match="beyond its storage"):
        convert(tmp_path, torchscript_archive(VALUES, shape=shape, strides=strides, offset=offset))


class _Hostile:
    """Runs a command when it is unpickled."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> object:
        return os.mkdir, (str(self.proof),)


def test_an_archive_that_names_a_function_is_refused_and_nothing_runs(tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    content = zipped({"net/data.pkl": pickle.dumps(_Hostile(proof)), "net/code/__torch__.py": b""})
    with pytest.raises(WeightsError, match="mkdir, which is no tensor"):
        convert(tmp_path, content)
    assert not proof.exists()


def test_a_storage_kind_that_is_not_known_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="QInt8Storage"):
        convert(tmp_path, torchscript_archive(VALUES, shape=(6,), strides=(1,), storage="QInt8"))


@pytest.mark.parametrize("content", [b"", b"no zip at all", zipped({"model/data.pkl": b"."}), zipped({})])
def test_what_is_no_torchscript_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(WeightsError, match="can't be read as a TorchScript archive"):
        convert(tmp_path, content)


def test_a_cut_off_storage_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "whole.pt"
    archive.write_bytes(torchscript_archive(VALUES, shape=(6,), strides=(1,)))
    with zipfile.ZipFile(archive) as whole:
        files = {name: whole.read(name) for name in whole.namelist()}
    files["net/data/0"] = files["net/data/0"][:-4]
    with pytest.raises(WeightsError, match="has 5 elements, not 6"):
        convert(tmp_path, zipped(files))
