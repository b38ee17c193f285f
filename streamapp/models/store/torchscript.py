"""The tensors of a TorchScript archive as safetensors, without running anything of the archive.

OpenAI published CLIP as such archives. torch.jit.load would run their code, and torch.load refuses them with
weights_only=True. Their ``data.pkl`` is read here by an unpickler that knows tensors and inert records and
refuses every other name, as weights_only=True does for checkpoints.
"""

import io
import pickle
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray
from safetensors.numpy import save_file

from streamapp.errors import WeightsError

Tensor = NDArray[Any]

# OpenAI's archives carry these three numbers as buffers; open_clip wants none of them.
_NOT_WEIGHTS = {"input_resolution", "context_length", "vocab_size"}

_DTYPES = {
    "DoubleStorage": np.float64,
    "FloatStorage": np.float32,
    "HalfStorage": np.float16,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ShortStorage": np.int16,
    "CharStorage": np.int8,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
}

_CLASS = re.compile(r"^class (\w+)\(Module\):(.*?)(?=^class |\Z)", re.MULTILINE | re.DOTALL)
_NAMES = re.compile(r"__(?:parameters|buffers)__ = \[(.*?)\]", re.DOTALL)


def convert_torchscript(archive: Path, target: Path) -> None:
    """Write the parameters and buffers of a TorchScript archive as safetensors, names and dtypes as they are.

    Args:
        archive: OpenAI's ``ViT-B-16.pt`` or the like.
        target: the file to write.

    Raises:
        WeightsError: it is no such archive, or it holds what is no tensor of a known kind.
    """
    try:
        tensors = dict(_read_tensors(archive))
    except OSError:
        raise
    except Exception as exc:  # a broken pickle raises whatever it likes
        raise WeightsError(f"{archive} can't be read as a TorchScript archive: {exc}.") from exc
    if not tensors:
        raise WeightsError(f"{archive} is a TorchScript archive without parameters.")
    save_file(tensors, target)


def _read_tensors(path: Path) -> Iterator[tuple[str, Tensor]]:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        roots = [name.removesuffix("data.pkl") for name in names if name.endswith("/data.pkl")]
        if len(roots) != 1 or not any(name.startswith(roots[0] + "code/") for name in names):
            raise ValueError("it has no data.pkl with code beside it")
        root = roots[0]
        if root + "byteorder" in names and archive.read(root + "byteorder") != b"little":
            raise ValueError("its numbers are big-endian")
        state_names = dict(_state_names(archive, root))

        def read_storage(key: str, dtype: type) -> Tensor:
            return np.frombuffer(archive.read(f"{root}data/{key}"), dtype)

        module = _TensorUnpickler(archive.read(root + "data.pkl"), read_storage).load()
        yield from _tensors_of(module, state_names, "")


def _state_names(archive: zipfile.ZipFile, root: str) -> Iterator[tuple[str, frozenset[str]]]:
    """Class → names of its parameters and buffers, read from the archive's code as text.

    Other attributes can be tensors too, and are no part of the state.
    """
    for name in archive.namelist():
        if not (name.startswith(root + "code/") and name.endswith(".py")):
            continue
        module = name.removeprefix(root + "code/").removesuffix(".py").replace("/", ".")
        for match in _CLASS.finditer(archive.read(name).decode()):
            listed = ",".join(_NAMES.findall(match[2]))
            yield f"{module}.{match[1]}", frozenset(re.findall(r'"([^"]+)"', listed))


def _tensors_of(
    module: "_Record", state_names: Mapping[str, frozenset[str]], prefix: str
) -> Iterator[tuple[str, Tensor]]:
    """Every parameter and buffer below a module, by its dotted name."""
    if not isinstance(module, _Record):
        raise ValueError(f"there is a {type(module).__name__} where a module should be")
    for name, value in module.state.items():
        if isinstance(value, _Record):
            yield from _tensors_of(value, state_names, f"{prefix}{name}.")
        elif name in state_names[module.class_name] - _NOT_WEIGHTS and value is not None:
            yield prefix + name, _require_tensor(value, prefix + name)


def _require_tensor(value: object, name: str) -> Tensor:
    if not isinstance(value, np.ndarray):
        raise ValueError(f"{name} is no tensor")
    return value


class _Record:
    """What stands for an object of the archive's classes: a name and a state, no behaviour."""

    class_name = ""
    state: Mapping[str, Any] = MappingProxyType({})

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict):
            raise pickle.UnpicklingError(f"the state of a {self.class_name} is no dict")
        self.state = state


class _TensorUnpickler(pickle.Unpickler):
    """Builds arrays, records, lists and dicts; any other name is refused, so nothing of the archive runs."""

    def __init__(self, data: bytes, read_storage: Callable[[str, type], Tensor]) -> None:
        super().__init__(io.BytesIO(data))
        self._read_storage = read_storage

    def find_class(self, module: str, name: str) -> Any:
        """The few things that a name may stand for."""
        if module == "__torch__" or module.startswith("__torch__."):
            return type("_Record", (_Record,), {"class_name": f"{module}.{name}"})
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        if (module, name) in _CALLABLES:
            return _CALLABLES[module, name]
        raise pickle.UnpicklingError(f"it names {module}.{name}, which is no tensor")

    def persistent_load(self, reference: Any) -> Tensor:
        """A storage: ``("storage", dtype, key, device, elements)``."""
        kind, dtype, key, _, elements = reference
        storage = self._read_storage(str(key), dtype)
        if kind != "storage" or storage.size != elements:
            raise pickle.UnpicklingError(f"the storage {key} has {storage.size} elements, not {elements}")
        return storage


def _rebuild_tensor(
    storage: Tensor, offset: int, shape: Sequence[int], strides: Sequence[int], *_: object
) -> Tensor:
    """A view into a storage, copied; out of its bounds there is nothing to see."""
    last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
    is_empty = 0 in shape
    if offset < 0 or min((*shape, *strides), default=0) < 0 or (last >= storage.size and not is_empty):
        raise pickle.UnpicklingError("a tensor reaches beyond its storage")
    steps = [stride * storage.itemsize for stride in strides]
    return np.ascontiguousarray(as_strided(storage[offset:], shape, steps)).reshape(shape)


def _first(value: object, *_: object) -> object:
    return value


_CALLABLES: dict[tuple[str, str], Callable[..., Any]] = {
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("collections", "OrderedDict"): dict,
    ("torch.jit._pickle", "build_intlist"): list,
    ("torch.jit._pickle", "build_doublelist"): list,
    ("torch.jit._pickle", "build_boollist"): list,
    ("torch.jit._pickle", "build_tensorlist"): list,
    ("torch.jit._pickle", "restore_type_tag"): _first,
}
