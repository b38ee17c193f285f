"""Check that a device answers as the CPU does, and measure on it; print one JSON line each.

    python benchmarks/gpu.py [--device cuda] [--quick] [--seconds 1] [--batches 1,8,32,64] [--precisions …]

The lines by `kind`: `machine`; `start`, seconds of a network's load and warm-up; `auto`, the precision that a
worker would take; `equality`, see gpu_equality.py; `model`, pictures per second of one network, `infer_per_s`
on the device alone and `rate` with prepare and finish on one thread; `turns`, see gpu_device.py; `stage`, see
gpu_stage.py; on a GPU, not with --quick, `no_room` and `lost`, see gpu_failures.py; `unavailable`, what could
not be had and why. Ends with status 1 where something does not hold. A thread whose `infer_cpu_ms` is about
1000 / `infer_per_s` spins while it waits for the device.

CLIP and CoOp are one network, once the tiny CLIP and once one with random weights. The pictures are those of
benchmarks/models.py.
"""

import argparse
import asyncio
import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as in the worker, and before torch is imported

import cv2
from gpu_device import device_facts, memory, reset_peak, turns
from gpu_equality import HAND_SIDES_PX, compare_embeddings, compare_hand_network, compare_nudenet
from gpu_failures import failures
from gpu_stage import Make, stage_rates
from models import _figures, _pictures
from nudenet_stages import _rate
from random_clip import write_random_clip

from streamapp.errors import SettingsError, WeightsError
from streamapp.media import Frame
from streamapp.models.base import AnyNetwork
from streamapp.models.clip_setup import embedder_specs
from streamapp.models.middle_finger import MiddleFinger
from streamapp.models.nudenet import NudeNet
from streamapp.models.store import Store
from streamapp.models.torch_device import require_device
from streamapp.models.weights import WeightsFile
from streamapp.policy import load_policy
from streamapp.settings import Settings

CARRIED_MFD = Path(__file__).parents[1] / ".whl" / "mfd"


@dataclass
class Run:
    """What one run measures, and how it went."""

    options: argparse.Namespace
    folder: Path
    deadline: float
    frames: Sequence[Frame] = field(default_factory=_pictures)
    onnx_device: str = "cpu"
    has_failed: bool = False
    left_out: list[str] = field(default_factory=list)

    def emit(self, kind: str, **line: Any) -> None:
        """Print one line; what does not hold fails the run."""
        self.has_failed |= line.get("holds") is False
        print(json.dumps({"benchmark": "gpu", "kind": kind, **line}), flush=True)

    def has_time_for(self, what: str) -> bool:
        """Whether to begin with it; what is not begun is reported at the end."""
        if time.monotonic() < self.deadline:
            return True
        self.left_out.append(what)
        return False


def main() -> int:
    options = _options()
    deadline = time.monotonic() + options.deadline_s
    cv2.setNumThreads(1)
    logging.getLogger("streamapp").setLevel(logging.ERROR)  # CoOp without weights is meant here
    try:
        require_device(options.device)
    except SettingsError as exc:
        sys.exit(str(exc))
    with tempfile.TemporaryDirectory() as folder:
        run = Run(options, Path(folder), deadline)
        run.emit("machine", **device_facts(options.device))
        run.onnx_device = _onnx_device(run)
        others = _measure_nudenet(run) | _measure_mfd(run)
        _measure_embedders(run, "tiny", None)
        weights = write_random_clip(run.folder, options.clip_model)
        embedders = _measure_embedders(run, options.clip_model, weights)
        if run.has_time_for("auto"):
            auto = _embedder(run, options.clip_model, weights, "auto", options.device)
            _load(run, options.clip_model, auto, kind="auto")
        if options.device != "cpu" and not options.quick and run.has_time_for("no_room, lost"):
            for line in failures(options.device, options.clip_model, weights):
                run.emit(**line)
        for precision, embedder in embedders.items():
            _measure_stage(run, precision, {"clip+coop": embedder})
            _measure_stage(run, precision, {"clip+coop": embedder, **others})
        if run.left_out:
            run.emit("unavailable", what=", ".join(run.left_out), why=f"{options.deadline_s} s were over")
    return int(run.has_failed)


# The networks: check each, then measure it.


def _measure_embedders(run: Run, model: str, weights: Path | None) -> dict[str, Make]:
    """Each precision's network, which the stage makes anew."""
    makes = {
        precision: _embedder(run, model, weights, precision, run.options.device)
        for precision in run.options.precisions
    }
    exact = _loaded(_embedder(run, model, weights, "fp32", "cpu"), [1])
    for precision, make in makes.items():
        if run.has_time_for(f"{model} in {precision}"):
            network = _load(run, model, make)
            _emit_equality(run, model, network, compare_embeddings(exact, network, run.frames))
            _measure(run, model, network)
    return makes


def _embedder(run: Run, model: str, weights: Path | None, precision: str, device: str) -> Make:
    settings = Settings(
        models="clip,coop",
        clip_model=model,
        coop_model=model,
        clip_weights=weights,
        clip_precision=precision,
        clip_threads=run.options.threads,
        clip_device=device,
        model_cache=run.folder,
    )
    (spec,) = embedder_specs(settings, load_policy().taxonomy).values()
    return spec.make


def _measure_nudenet(run: Run) -> dict[str, Make]:
    make = _nudenet(run, run.onnx_device)
    network = _load(run, "nudenet", make)
    exact = _loaded(_nudenet(run, "cpu"), [1])
    _emit_equality(run, "nudenet", network, compare_nudenet(exact, network, run.frames))
    _measure(run, "nudenet", network)
    return {"nudenet": make}


def _nudenet(run: Run, device: str) -> Make:
    threads, policy = run.options.threads, load_policy().nudenet
    return lambda: NudeNet(weights=None, channel_order="rgb", threads=threads, policy=policy, device=device)


def _measure_mfd(run: Run) -> dict[str, Make]:
    """MFD, or nothing and a line that says why."""
    try:
        files = _hand_networks(run.options.mfd)
    except WeightsError as exc:
        run.emit("unavailable", what="MFD", why=str(exc))
        return {}
    sizes = tuple(sorted({1, *run.options.batches}))

    def make() -> MiddleFinger:
        threads, device = run.options.threads, run.onnx_device
        locate = {name: lambda file=file: file for name, file in files.items()}
        return MiddleFinger(**locate, threads=threads, batch_sizes=sizes, device=device)

    network = _load(run, "mfd", make)
    for name, file in files.items():
        compared = compare_hand_network(name, file.path, run.frames, run.onnx_device)
        _emit_equality(run, f"mfd-{name}", network, compared)
    _measure(run, "mfd", network)
    return {"mfd": make}


def _hand_networks(folder: Path | None) -> dict[str, WeightsFile]:
    """The two files in that folder, or where the model store has them."""
    own = {}
    if folder is not None:
        own = {f"mfd_{name}_weights": next(folder.glob(f"*{name}*.tflite"), folder) for name in HAND_SIDES_PX}
    store = Store(Settings(**own))
    return {name: store.locate(f"mfd-{name}") for name in HAND_SIDES_PX}


def _load(run: Run, model: str, make: Make, kind: str = "start") -> AnyNetwork:
    """A network for the batches that are measured; how long its start took is a line."""
    network = _only(make, sorted({1, *run.options.batches}))()
    network.check_weights()
    started_at = time.perf_counter()
    network.load()
    loaded_at = time.perf_counter()
    network.warm_up()
    info, warm_up_s = network.heads[0].info, time.perf_counter() - loaded_at
    seconds = {"load_s": round(loaded_at - started_at, 3), "warm_up_s": round(warm_up_s, 3)}
    run.emit(kind, model=model, device=info.device, precision=info.precision, **seconds)
    return network


def _loaded(make: Make, batches: Sequence[int]) -> AnyNetwork:
    network = _only(make, batches)()
    network.check_weights()
    network.load()
    network.warm_up()
    return network


def _only(make: Make, batches: Sequence[int]) -> Make:
    """The same network, which runs in these batch sizes only."""

    def made() -> AnyNetwork:
        network = make()
        network.batch_sizes = tuple(batches)
        return network

    return made


def _emit_equality(run: Run, model: str, network: AnyNetwork, compared: Mapping[str, Any]) -> None:
    info = network.heads[0].info
    run.emit("equality", model=model, device=info.device, precision=info.precision, **compared)


def _measure(run: Run, model: str, network: AnyNetwork) -> None:
    info = network.heads[0].info
    for size in run.options.batches:
        reset_peak(run.options.device)
        batch = list(islice(cycle(run.frames), size))
        prepared = [network.prepare(frame) for frame in batch]
        infer_per_s = _rate(lambda p=prepared: network.infer(p), size, run.options.seconds)
        figures = {"infer_per_s": infer_per_s, **_figures([network], batch, run.options.seconds)}
        figures |= memory(run.options.device)
        run.emit("model", model=model, device=info.device, precision=info.precision, batch=size, **figures)
    prepared = list(map(network.prepare, islice(cycle(run.frames), max(run.options.batches))))
    figures = turns(network, prepared, run.options.seconds)
    run.emit("turns", model=model, device=info.device, precision=info.precision, **figures)


# The stage


def _measure_stage(run: Run, precision: str, makes: Mapping[str, Make]) -> None:
    for size in run.options.batches:
        if run.has_time_for(f"stage of {', '.join(makes)} in {precision} by {size}"):
            sizes = sorted({1, *(each for each in run.options.batches if each <= size)})
            only = [_only(make, sizes) for make in makes.values()]
            threads, seconds = run.options.threads, run.options.seconds
            figures = asyncio.run(stage_rates(only, run.frames, size, threads, seconds))
            devices = {name: run.options.device if name == "clip+coop" else run.onnx_device for name in makes}
            run.emit("stage", devices=devices, precision=precision, batch=size, **figures)


# The machine and the options


def _onnx_device(run: Run) -> str:
    """The device of what runs on onnxruntime; where that can't use it the CPU, and a line that says so."""
    try:
        _nudenet(run, run.options.device)().load()
    except SettingsError as exc:
        run.emit("unavailable", what=f"NudeNet and MFD on {run.options.device}", why=str(exc))
        return "cpu"
    return str(run.options.device)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Check and measure the models on a device.")
    parser.add_argument("--device", default="cuda", help="cpu, cuda or cuda:<index>")
    parser.add_argument("--quick", action="store_true", help="one small batch, and no rate to trust")
    parser.add_argument("--seconds", type=float, help="for each figure")
    parser.add_argument("--deadline-s", type=float, default=390.0, help="after which nothing more is begun")
    parser.add_argument("--batches", help="ascending, comma-separated")
    parser.add_argument("--precisions", help="of CLIP and CoOp, comma-separated")
    parser.add_argument("--clip-model", help="open_clip's name of the network with random weights")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument(
        "--mfd", type=Path, help="folder with the hand networks; else the model store has them"
    )
    options = parser.parse_args()
    quick = options.quick
    options.seconds = options.seconds or (0.01 if quick else 1.0)
    options.batches = [int(size) for size in (options.batches or ("2" if quick else "1,8,32,64")).split(",")]
    half = "bf16" if options.device == "cpu" else "bf16,fp16"
    options.precisions = (options.precisions or f"fp32,{half}").split(",")
    options.clip_model = options.clip_model or ("ViT-S-32-alt" if quick else "ViT-B-16")
    if options.mfd is None and CARRIED_MFD.is_dir():
        options.mfd = CARRIED_MFD
    return options


if __name__ == "__main__":
    sys.exit(main())
