"""Measure NudeNet's stages and the nudenet package's own `detect`; print one JSON line.

    python benchmarks/nudenet_stages.py [seconds per measurement]

Every figure is pictures per second: the median of the rounds that fit in the time, on real pictures that
scikit-image carries (the dev extra), as they are and scaled to the longest side that a frame has.
"""

import json
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from itertools import cycle, islice
from pathlib import Path
from statistics import median

import cv2
import numpy as np
from machine import machine_facts
from nudenet import NudeDetector

from streamapp.media import Frame
from streamapp.models.nudenet import NudeNet, PreparedFrame
from streamapp.policy import load_policy

NAMES = ("astronaut.png", "camera.png", "color.png", "coffee.png", "motorcycle_left.png", "moon.png")
FRAME_SIDE_PX = 1280
BATCH_SIZES = (1, 2, 4, 8, 16)
THREADS = (1, 2)


def main(seconds: float) -> None:
    cv2.setNumThreads(1)
    paths = [_data_folder() / name for name in NAMES]
    small = [_read(path) for path in paths]
    large = [_enlarge(frame) for frame in small]
    result = {
        "benchmark": "nudenet",
        "unit": "pictures/s",
        **machine_facts("nudenet", "onnxruntime", "opencv-python-headless", "numpy"),
    }

    model = _model(threads=THREADS[-1])
    result["prepare"] = {
        "as_they_are": _rate(lambda: [model.prepare(frame) for frame in small], len(small), seconds),
        f"{FRAME_SIDE_PX}_px": _rate(lambda: [model.prepare(frame) for frame in large], len(large), seconds),
    }
    prepared = [model.prepare(frame) for frame in small]
    result["infer"] = {f"{threads}_threads": _infer_rates(threads, prepared, seconds) for threads in THREADS}
    raws = model.infer(prepared)
    answers = list(zip(raws, prepared, strict=True))
    result["finish"] = _rate(lambda: [model.finish(*answer) for answer in answers], len(answers), seconds)
    result["prepare_infer_finish_at_batch_1"] = _rate(
        lambda: [_look(model, f) for f in small], len(small), seconds
    )

    detector = NudeDetector()
    pictures = [np.ascontiguousarray(frame.pixels[:, :, ::-1]) for frame in small]
    result["package_detect"] = _rate(lambda: [detector.detect(p) for p in pictures], len(pictures), seconds)
    print(json.dumps(result))


def _rate(work: Callable[[], object], pictures: int, seconds: float) -> float:
    """Pictures per second: median over rounds, the first of which is not counted."""
    work()
    durations = []
    end = time.perf_counter() + seconds
    while not durations or time.perf_counter() < end:
        start = time.perf_counter()
        work()
        durations.append(time.perf_counter() - start)
    return round(pictures / median(durations), 1)


def _infer_rates(threads: int, prepared: list[PreparedFrame], seconds: float) -> dict[str, float]:
    model = _model(threads)
    batches = {size: list(islice(cycle(prepared), size)) for size in BATCH_SIZES}
    return {f"batch_{n}": _rate(lambda b=batch: model.infer(b), n, seconds) for n, batch in batches.items()}


def _look(model: NudeNet, frame: Frame) -> object:
    prepared = model.prepare(frame)
    return model.finish(model.infer([prepared])[0], prepared)


def _model(threads: int) -> NudeNet:
    model = NudeNet(
        weights=None,
        channel_order="rgb",
        threads=threads,
        policy=load_policy().nudenet,
        batch_sizes=BATCH_SIZES,
    )
    model.load()
    model.warm_up()
    return model


def _data_folder() -> Path:
    spec = find_spec("skimage")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("The pictures are scikit-image's: run `pip install -e '.[dev]'`.")
    return Path(spec.submodule_search_locations[0]) / "data"


def _read(path: Path) -> Frame:
    return Frame(cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB))


def _enlarge(frame: Frame) -> Frame:
    factor = FRAME_SIDE_PX / max(frame.pixels.shape[:2])
    return Frame(cv2.resize(frame.pixels, None, fx=factor, fy=factor))


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 2.0)
