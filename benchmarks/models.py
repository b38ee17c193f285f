"""Measure the models alone and together, by precision and batch size; print one JSON line.

    python benchmarks/models.py [--seconds 2] [--batches 1,4,8,16,32] [--precisions fp32,bf16] [--models …]

A rate is pictures per second of prepare, infer and finish one after the other, in one process and without the
worker: the median of the rounds that fit in the time. CPU seconds per picture are those of the whole process.
CLIP and CoOp are one ViT-B-16 with random weights unless --clip-weights names a file. Pictures are those that
scikit-image carries (the dev extra), scaled to 1080 px.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as in the worker, and before torch is imported

import cv2
from machine import machine_facts
from nudenet_stages import NAMES, _data_folder, _read
from random_clip import write_random_clip

from streamapp.media import Frame
from streamapp.models.base import AnyNetwork
from streamapp.models.registry import build_models
from streamapp.policy import load_policy
from streamapp.settings import Settings

SIDE_PX = 1080
STAGES = ("prepare", "infer", "finish")


def main() -> None:
    options = _options()
    cv2.setNumThreads(1)
    frames = _pictures()
    result: dict[str, Any] = {
        "benchmark": "models",
        "unit": "pictures/s",
        **machine_facts("torch", "open_clip_torch", "onnxruntime", "numpy", "pillow"),
        "device": options.device,
        "side_px": SIDE_PX,
        "alone": {},
        "together": {},
    }
    with tempfile.TemporaryDirectory() as folder:
        weights = options.clip_weights or write_random_clip(Path(folder))
        for precision in options.precisions.split(","):
            networks = _load(options, weights, precision, Path(folder))
            batches = [int(size) for size in options.batches.split(",")]
            _measure(result, networks, precision, frames, batches, options.seconds)
    print(json.dumps(result))


def _measure(
    result: dict[str, Any],
    networks: Sequence[AnyNetwork],
    precision: str,
    frames: Sequence[Frame],
    batches: Sequence[int],
    seconds: float,
) -> None:
    """Add one precision's figures; the networks without torch are measured anew as neighbours of each."""
    for size in batches:
        batch = list(islice(cycle(frames), size))
        for network in networks:
            name = f"{network.name} {network.heads[0].info.precision}"
            if f"batch_{size}" not in result["alone"].setdefault(name, {}):
                result["alone"][name][f"batch_{size}"] = _figures([network], batch, seconds)
        together = result["together"].setdefault(precision, {})
        together[f"batch_{size}"] = _figures(networks, batch, seconds)


def _figures(networks: Sequence[AnyNetwork], frames: Sequence[Frame], seconds: float) -> dict[str, float]:
    """The rate, and the CPU milliseconds per picture of each stage."""
    durations: list[float] = []
    cpu_s = dict.fromkeys(STAGES, 0.0)
    _look(networks, frames, dict(cpu_s))
    while not durations or sum(durations) < seconds:
        started_at = time.perf_counter()
        _look(networks, frames, cpu_s)
        durations.append(time.perf_counter() - started_at)
    pictures = len(frames) * len(durations)
    rate = {"rate": round(len(frames) / median(durations), 2)}
    return rate | {f"{stage}_cpu_ms": round(cpu_s[stage] / pictures * 1000, 2) for stage in STAGES}


def _look(networks: Sequence[AnyNetwork], frames: Sequence[Frame], cpu_s: dict[str, float]) -> None:
    """Show the frames to the networks, and add up the stages' CPU seconds."""

    def timed(stage: str, work: Callable[[], list[Any]]) -> list[Any]:
        started_at = time.process_time()
        done = work()
        cpu_s[stage] += time.process_time() - started_at
        return done

    for network in networks:
        prepared = timed("prepare", lambda n=network: [n.prepare(frame) for frame in frames])
        raws = timed("infer", lambda n=network, p=prepared: list(n.infer(p)))
        timed("finish", lambda n=network, r=raws, p=prepared: list(map(n.finish, r, p)))


def _load(options: argparse.Namespace, weights: Path, precision: str, cache: Path) -> list[AnyNetwork]:
    settings = Settings(
        models=options.models,
        clip_model="ViT-B-16",
        clip_weights=weights,
        clip_precision=precision,
        clip_threads=options.threads,
        clip_device=options.device,
        nudenet_threads=options.threads,
        mfd_threads=options.threads,
        **({"model_cache": cache} if options.model_cache is None else {"model_cache": options.model_cache}),
    )
    networks = build_models(settings, load_policy())
    for network in networks:
        network.check_weights()
        network.load()
        network.warm_up()
    return networks


def _pictures() -> list[Frame]:
    frames = []
    for name in NAMES:
        frame = _read(_data_folder() / name)
        factor = SIDE_PX / max(frame.pixels.shape[:2])
        frames.append(Frame(cv2.resize(frame.pixels, None, fx=factor, fy=factor)))
    return frames


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure the models alone and together.")
    parser.add_argument("--seconds", type=float, default=2.0, help="for each figure")
    parser.add_argument("--batches", default="1,4,8,16,32")
    parser.add_argument("--precisions", default="fp32,bf16", help="of CLIP and CoOp")
    parser.add_argument("--models", default="nudenet,clip,coop", help="as in STREAMAPP_MODELS")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--device", default="cpu", help="of CLIP and CoOp")
    parser.add_argument("--clip-weights", type=Path, help="of ViT-B-16; random ones if there is none")
    parser.add_argument(
        "--model-cache", type=Path, help="where MFD's networks are, if MFD is among the models"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
