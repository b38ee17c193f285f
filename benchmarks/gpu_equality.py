"""Whether a device answers as the CPU does: what benchmarks/gpu.py says of each network in a line.

Expected is always picture after picture in fp32 on the CPU, found is all pictures as one batch on the device.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from streamapp.media import Frame
from streamapp.models.base import AnyNetwork
from streamapp.models.clip_backbone import MIN_COSINE
from streamapp.models.hands_networks import LiteRtNetwork, OnnxNetwork
from streamapp.models.tflite_onnx import tflite_to_onnx

HAND_SIDES_PX = {"palm": 192, "landmark": 224}
MIN_COSINE_FP32 = 0.9999  # cuDNN's convolutions take TF32 for fp32 by default
MAX_DIFFERENCE = 1e-2  # of NudeNet's scores and, relative, of the hand networks' answers


def compare_embeddings(exact: AnyNetwork, other: AnyNetwork, frames: Sequence[Frame]) -> dict[str, Any]:
    """Compare embeddings by cosine, and what the heads make of them: CLIP logits, CoOp probabilities.

    `nearest_other_cosine` is that of two different pictures: with random weights it is high, and a high
    `min_cosine` says less.
    """
    expected, found = _one_by_one(exact, frames), _together(other, frames)
    cosines = found @ expected.T
    outputs = [[exact.finish(vector, None) for vector in vectors] for vectors in (expected, found)]
    precision = other.heads[0].info.precision
    return {
        "min_cosine": float(cosines.diagonal().min()),
        "nearest_other_cosine": float(cosines[~np.eye(len(cosines), dtype=bool)].max()),
        "max_difference": _difference(expected, found),
        "max_output_difference": {
            head.name: max(_difference(a[head.name], b[head.name]) for a, b in zip(*outputs, strict=True))
            for head in exact.heads
        },
        "holds": bool(cosines.diagonal().min() >= (MIN_COSINE_FP32 if precision == "fp32" else MIN_COSINE)),
    }


def compare_nudenet(exact: AnyNetwork, other: AnyNetwork, frames: Sequence[Frame]) -> dict[str, Any]:
    """Compare the scores of all anchors, and the labels that are found.

    The labels do not decide: a score beside the floor may fall to either side of it.
    """
    prepared = [exact.prepare(frame) for frame in frames]
    expected, found = _one_by_one(exact, frames), _together(other, frames)
    labels = [
        [[d.label for d in exact.finish(*answer).detections] for answer in zip(raws, prepared, strict=True)]
        for raws in (expected, found)
    ]
    difference = _difference(expected[:, 4:], found[:, 4:])
    return {
        "max_difference": difference,
        "detections": sum(map(len, labels[0])),
        "same_detections": labels[0] == labels[1],
        "holds": difference <= MAX_DIFFERENCE,
    }


def compare_hand_network(name: str, path: Path, frames: Sequence[Frame], device: str) -> dict[str, Any]:
    """Compare a tflite file on LiteRT with the same rewritten as ONNX, which is what a GPU runs."""
    side = HAND_SIDES_PX[name]
    inputs = [cv2.resize(frame.pixels, (side, side)).astype(np.float32) / 255 for frame in frames]
    with ThreadPoolExecutor(1) as pool:
        expected = LiteRtNetwork(path, pool=pool, threads=1)(inputs)
    content = tflite_to_onnx(path)
    network = OnnxNetwork(content, what=name, device=device, threads=1, batch_sizes=[len(inputs)])
    difference = max(
        _difference(a, b) / max(1.0, float(np.abs(a).max()))
        for a, b in zip(expected, network(inputs), strict=True)
    )
    return {"max_difference": difference, "holds": difference <= MAX_DIFFERENCE}


def _one_by_one(network: AnyNetwork, frames: Sequence[Frame]) -> Any:
    return np.stack([network.infer([network.prepare(frame)])[0] for frame in frames])


def _together(network: AnyNetwork, frames: Sequence[Frame]) -> Any:
    return np.stack(network.infer([network.prepare(frame) for frame in frames]))


def _difference(expected: Any, found: Any) -> float:
    """The largest; NaN where one is, which no bound holds."""
    return float(np.abs(expected - found).max())
