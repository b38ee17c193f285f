"""Measure MFD: its two networks on LiteRT and on onnxruntime, and its stages; print one JSON line.

    python benchmarks/middle_finger.py [--seconds 2] [--pictures FOLDER]

Every figure is a median over the rounds that fit in the time: milliseconds of CPU (all threads) and of wall
time for one input or one picture. Pictures: those of the folder, else those that scikit-image carries (the
dev extra), among which there are no hands. The networks must be there: `streamapp models fetch mfd`.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
from machine import machine_facts

from streamapp.media import Frame
from streamapp.models.hands_networks import LiteRtNetwork, Network, OnnxNetwork
from streamapp.models.middle_finger import MiddleFinger
from streamapp.models.store import Store
from streamapp.models.tflite_onnx import tflite_to_onnx
from streamapp.models.weights import WeightsFile
from streamapp.settings import load_settings

BATCH_SIZES = (1, 2, 4, 8)
THREADS = (1, 2)
SIDES_PX = {"palm": 192, "landmark": 224}
SUFFIXES = {".jpg", ".jpeg", ".png"}


def main(seconds: float, folder: Path | None) -> None:
    cv2.setNumThreads(1)
    store = Store(load_settings())
    files = {name: store.locate(f"mfd-{name}") for name in SIDES_PX}
    frames = _read_frames(folder or _skimage_folder())
    print(
        json.dumps(
            {
                "benchmark": "mfd",
                "unit": "ms",
                **machine_facts("ai-edge-litert", "onnxruntime", "opencv-python-headless", "numpy"),
                "networks": {name: _networks(name, file.path, seconds) for name, file in files.items()},
                "pictures": len(frames),
                "stages": _stages(files, frames, seconds, closer_looks=2),
                "stages_without_closer_looks": _stages(files, frames, seconds, closer_looks=0),
            }
        )
    )


def _networks(name: str, path: Path, seconds: float) -> dict[str, Any]:
    """One network on both runtimes, on noise, for each number of threads and batch size."""
    side = SIDES_PX[name]
    inputs = list(np.random.default_rng(0).random((BATCH_SIZES[-1], side, side, 3), np.float32))
    content = tflite_to_onnx(path)
    figures: dict[str, Any] = {}
    for threads in THREADS:
        with ThreadPoolExecutor(threads) as pool:
            runtimes: dict[str, Network] = {
                "litert": LiteRtNetwork(path, pool=pool, threads=threads),
                "onnxruntime": OnnxNetwork(
                    content, what=name, device="cpu", threads=threads, batch_sizes=BATCH_SIZES
                ),
            }
            for runtime, network in runtimes.items():
                figures[f"{runtime}_{threads}_threads"] = _by_batch(network, inputs, seconds)
    return figures


def _by_batch(
    run: Callable[[Sequence[Any]], object], inputs: Sequence[Any], seconds: float
) -> dict[str, Any]:
    batches = {size: list(islice(cycle(inputs), size)) for size in BATCH_SIZES}
    return {f"batch_{n}": _time(lambda b=batch: run(b), n, seconds) for n, batch in batches.items()}


def _stages(
    files: dict[str, WeightsFile], frames: list[Frame], seconds: float, closer_looks: int
) -> dict[str, Any]:
    """What a picture costs in prepare, infer and finish, and how many hands there are in it."""
    locate = {name: lambda file=file: file for name, file in files.items()}
    model = MiddleFinger(**locate, threads=THREADS[-1], closer_looks=closer_looks, batch_sizes=BATCH_SIZES)
    model.load()
    model.warm_up()
    prepared = [model.prepare(frame) for frame in frames]
    raws = _infer_all(model, prepared)
    findings = [model.finish(*answer) for answer in zip(raws, prepared, strict=True)]
    count = len(frames)
    return {
        "hands_per_picture": round(sum(len(finding.hands) for finding in findings) / count, 3),
        "prepare": _time(lambda: [model.prepare(frame) for frame in frames], count, seconds),
        f"infer_batch_{BATCH_SIZES[-1]}": _time(lambda: _infer_all(model, prepared), count, seconds),
        "finish": _time(
            lambda: [model.finish(*answer) for answer in zip(raws, prepared, strict=True)], count, seconds
        ),
    }


def _infer_all(model: MiddleFinger, prepared: list[Any]) -> list[Any]:
    size = BATCH_SIZES[-1]
    starts = range(0, len(prepared), size)
    return [raw for start in starts for raw in model.infer(prepared[start : start + size])]


def _time(work: Callable[[], object], count: int, seconds: float) -> dict[str, float]:
    """Milliseconds of CPU and of wall time, divided by ``count``; the first round is not counted."""
    work()
    rounds = []
    end = time.perf_counter() + seconds
    while not rounds or time.perf_counter() < end:
        started_at, cpu_at = time.perf_counter(), time.process_time()
        work()
        rounds.append((time.process_time() - cpu_at, time.perf_counter() - started_at))
    cpu_s, wall_s = (median(values) for values in zip(*rounds, strict=True))
    return {"cpu": round(1000 * cpu_s / count, 2), "wall": round(1000 * wall_s / count, 2)}


def _read_frames(folder: Path) -> list[Frame]:
    paths = sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES)
    images = [cv2.imread(str(path)) for path in paths]
    frames = [Frame(cv2.cvtColor(image, cv2.COLOR_BGR2RGB)) for image in images if image is not None]
    if not frames:
        raise SystemExit(f"There are no JPEG or PNG pictures in {folder}.")
    return frames


def _skimage_folder() -> Path:
    spec = find_spec("skimage")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(
            "The pictures are scikit-image's: run `pip install -e '.[dev]'`, or give --pictures."
        )
    return Path(spec.submodule_search_locations[0]) / "data"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=2.0, help="time for each figure")
    parser.add_argument("--pictures", type=Path, help="folder with JPEG and PNG pictures")
    arguments = parser.parse_args()
    main(arguments.seconds, arguments.pictures)
