"""Rewrites a tflite network to ONNX with a dynamic batch: float networks of the operators in `_OPERATORS`.

tflite's pictures are ``(N, H, W, C)``, ONNX's operators want ``(N, C, H, W)``. Inside the rewritten graph
every tensor of rank 4 is the latter and every other one as tflite has it; inputs and outputs keep
tflite's layout.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from ai_edge_litert import schema_py_generated as schema
from onnx import TensorProto, helper, numpy_helper

from streamapp.errors import WeightsError

Array = npt.NDArray[Any]

_DTYPES = {
    schema.TensorType.FLOAT32: np.float32,
    schema.TensorType.FLOAT16: np.float16,
    schema.TensorType.INT32: np.int32,
}
_OPSET, _IR_VERSION = 17, 8
_TO_NCHW, _TO_NHWC = (0, 3, 1, 2), (0, 2, 3, 1)


def tflite_to_onnx(path: Path) -> bytes:
    """Rewrite a network; the answer is an ONNX file's content, with one input ``input`` and ``output_<i>``.

    Raises:
        WeightsError: the file is no tflite network, or uses something that is not rewritten here.
    """
    content = path.read_bytes()
    if content[4:8] != b"TFL3":
        raise WeightsError(f"{path} is no tflite network.")
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
    try:
        network = _Rewriting(model).network()
        onnx.checker.check_model(network)
    except (NotImplementedError, onnx.checker.ValidationError) as exc:
        raise WeightsError(f"The network at {path} can't be rewritten to ONNX: {exc}") from exc
    written: bytes = network.SerializeToString()
    return written


class _Rewriting:
    """One network on its way.

    Attributes:
        nodes, initializers: of the ONNX graph so far.
        names: tflite's tensor index → name in the ONNX graph.
        constants: tflite's tensor index → value, float16 as float32.
    """

    def __init__(self, model: Any) -> None:
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self.names: dict[int, str] = {}
        self.constants: dict[int, Array] = {}
        self._model = model
        self._graph = model.subgraphs[0]

    def network(self) -> Any:
        """The ONNX model."""
        (source,) = self._graph.inputs
        self.names[source] = self.add("Transpose", "input", perm=_TO_NCHW)
        for index in range(len(self._graph.tensors)):
            self._read_constant(index)
        for operator in self._graph.operators:
            code = self._model.operatorCodes[operator.opcodeIndex]
            # Codes above 127 stand in the newer field, the others in either.
            number = max(code.builtinCode, code.deprecatedBuiltinCode)
            if number not in _OPERATORS:
                raise NotImplementedError(f"operator {number}")
            _OPERATORS[number](self, operator, operator.builtinOptions)
        outputs = []
        for position, index in enumerate(self._graph.outputs):
            name = f"output_{position}"
            self.nodes.append(helper.make_node("Identity", [self.plain(index)], [name]))
            outputs.append(self._signature(name, index))
        graph = helper.make_graph(
            self.nodes, "network", [self._signature("input", source)], outputs, self.initializers
        )
        return helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION
        )

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output; returns the output's name."""
        name = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def constant(self, value: Array) -> str:
        """Add a constant; returns its name."""
        name = f"constant_{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def shape(self, index: int) -> tuple[int, ...]:
        """In tflite's layout, with a batch of 1."""
        return tuple(int(length) for length in self._graph.tensors[index].shape)

    def plain(self, index: int) -> str:
        """The name of a tensor in tflite's layout."""
        name = self.names[index]
        return self.add("Transpose", name, perm=_TO_NHWC) if len(self.shape(index)) == 4 else name

    def activate(self, name: str, activation: int) -> str:
        """Add the function that tflite fuses into an operator."""
        if activation == schema.ActivationFunctionType.NONE:
            return name
        if activation == schema.ActivationFunctionType.RELU:
            return self.add("Relu", name)
        if activation == schema.ActivationFunctionType.RELU6:
            return self.add("Clip", name, *(self.constant(np.array(edge, np.float32)) for edge in (0, 6)))
        raise NotImplementedError(f"activation {activation}")

    def _read_constant(self, index: int) -> None:
        tensor = self._graph.tensors[index]
        data = self._model.buffers[tensor.buffer].data
        if data is None or len(data) == 0:
            return
        if tensor.type not in _DTYPES:
            raise NotImplementedError(f"constants of type {tensor.type}")
        value = np.frombuffer(bytes(data), _DTYPES[tensor.type]).reshape(self.shape(index))
        self.constants[index] = value.astype(np.float32) if value.dtype == np.float16 else value

    def _signature(self, name: str, index: int) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *self.shape(index)[1:]])


def _padding(
    padding: int, lengths: tuple[int, ...], kernel: tuple[int, ...], strides: tuple[int, ...]
) -> list[int]:
    """ONNX's pads (top, left, bottom, right) for tflite's SAME, whose odd pixel is at the end, or VALID."""
    if padding == schema.Padding.VALID:
        return [0, 0, 0, 0]
    totals = [
        max((-(-length // stride) - 1) * stride + size - length, 0)
        for length, size, stride in zip(lengths, kernel, strides, strict=True)
    ]
    return [total // 2 for total in totals] + [total - total // 2 for total in totals]


def _dequantize(net: _Rewriting, operator: Any, options: Any) -> None:
    # The weights of these networks are float16 constants, which `constants` holds as float32.
    net.constants[operator.outputs[0]] = net.constants[operator.inputs[0]]


def _convolution(net: _Rewriting, operator: Any, options: Any) -> None:
    source, weights, *bias = operator.inputs
    is_depthwise = isinstance(options, schema.DepthwiseConv2DOptionsT)
    # tflite: (out, H, W, in), depthwise (1, H, W, out); ONNX: (out, in / groups, H, W)
    kernel = net.constants[weights].transpose((3, 0, 1, 2) if is_depthwise else _TO_NCHW)
    if (options.dilationHFactor, options.dilationWFactor) != (1, 1):
        raise NotImplementedError("dilated convolutions")
    strides = (options.strideH, options.strideW)
    size: tuple[int, ...] = kernel.shape[2:]
    name = net.add(
        "Conv",
        net.names[source],
        net.constant(kernel),
        *(net.constant(net.constants[index]) for index in bias if index >= 0),
        strides=strides,
        pads=_padding(options.padding, net.shape(source)[1:3], size, strides),
        group=net.shape(source)[3] if is_depthwise else 1,
    )
    net.names[operator.outputs[0]] = net.activate(name, options.fusedActivationFunction)


def _prelu(net: _Rewriting, operator: Any, options: Any) -> None:
    source, slopes = operator.inputs
    slope = net.constant(net.constants[slopes].reshape(-1, 1, 1))
    net.names[operator.outputs[0]] = net.add("PRelu", net.names[source], slope)


def _add(net: _Rewriting, operator: Any, options: Any) -> None:
    name = net.add("Add", *(net.names[index] for index in operator.inputs))
    net.names[operator.outputs[0]] = net.activate(name, options.fusedActivationFunction)


def _max_pool(net: _Rewriting, operator: Any, options: Any) -> None:
    (source,) = operator.inputs
    size, strides = (options.filterHeight, options.filterWidth), (options.strideH, options.strideW)
    pads = _padding(options.padding, net.shape(source)[1:3], size, strides)
    name = net.add("MaxPool", net.names[source], kernel_shape=size, strides=strides, pads=pads)
    net.names[operator.outputs[0]] = net.activate(name, options.fusedActivationFunction)


def _pad(net: _Rewriting, operator: Any, options: Any) -> None:
    source, widths = operator.inputs
    pads = net.constants[widths][list(_TO_NCHW)].T.reshape(-1).astype(np.int64)
    net.names[operator.outputs[0]] = net.add("Pad", net.names[source], net.constant(pads))


def _resize_bilinear(net: _Rewriting, operator: Any, options: Any) -> None:
    source, target = operator.inputs[0], operator.outputs[0]
    if options.alignCorners:
        raise NotImplementedError("resizing with aligned corners")
    before, after = net.shape(source)[1:3], net.shape(target)[1:3]
    scales = np.array([1, 1, after[0] / before[0], after[1] / before[1]], np.float32)
    net.names[target] = net.add(
        "Resize",
        net.names[source],
        "",
        net.constant(scales),
        mode="linear",
        coordinate_transformation_mode="half_pixel" if options.halfPixelCenters else "asymmetric",
    )


def _mean(net: _Rewriting, operator: Any, options: Any) -> None:
    source, axes = operator.inputs
    if sorted(net.constants[axes].ravel()) != [1, 2]:
        raise NotImplementedError("means of other axes than height and width")
    keepdims = int(options.keepDims)
    net.names[operator.outputs[0]] = net.add("ReduceMean", net.names[source], axes=[2, 3], keepdims=keepdims)


def _fully_connected(net: _Rewriting, operator: Any, options: Any) -> None:
    source, weights, *bias = operator.inputs
    constants = [net.constant(net.constants[index]) for index in (weights, *bias) if index >= 0]
    name = net.add("Gemm", net.add("Flatten", net.plain(source)), *constants, transB=1)
    net.names[operator.outputs[0]] = net.activate(name, options.fusedActivationFunction)


def _reshape(net: _Rewriting, operator: Any, options: Any) -> None:
    shape = net.shape(operator.outputs[0])
    if len(shape) == 4:
        raise NotImplementedError("reshaping to pictures")
    target = net.constant(np.array([-1, *shape[1:]], np.int64))
    net.names[operator.outputs[0]] = net.add("Reshape", net.plain(operator.inputs[0]), target)


def _concatenation(net: _Rewriting, operator: Any, options: Any) -> None:
    if len(net.shape(operator.outputs[0])) == 4:
        raise NotImplementedError("concatenating pictures")
    names = [net.names[index] for index in operator.inputs]
    net.names[operator.outputs[0]] = net.add("Concat", *names, axis=options.axis)


def _logistic(net: _Rewriting, operator: Any, options: Any) -> None:
    net.names[operator.outputs[0]] = net.add("Sigmoid", net.names[operator.inputs[0]])


_OPERATORS: dict[int, Callable[[_Rewriting, Any, Any], None]] = {
    schema.BuiltinOperator.ADD: _add,
    schema.BuiltinOperator.CONCATENATION: _concatenation,
    schema.BuiltinOperator.CONV_2D: _convolution,
    schema.BuiltinOperator.DEPTHWISE_CONV_2D: _convolution,
    schema.BuiltinOperator.DEQUANTIZE: _dequantize,
    schema.BuiltinOperator.FULLY_CONNECTED: _fully_connected,
    schema.BuiltinOperator.LOGISTIC: _logistic,
    schema.BuiltinOperator.MAX_POOL_2D: _max_pool,
    schema.BuiltinOperator.MEAN: _mean,
    schema.BuiltinOperator.PAD: _pad,
    schema.BuiltinOperator.PRELU: _prelu,
    schema.BuiltinOperator.RESHAPE: _reshape,
    schema.BuiltinOperator.RESIZE_BILINEAR: _resize_bilinear,
}
