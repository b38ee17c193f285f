"""Compare CLIP's prepare step with open_clip's own transform; print one JSON line.

    python benchmarks/clip_pixels.py [seconds per measurement]

Milliseconds of CPU per picture, on one thread, by the picture's longest side: `ours` gives uint8, which the
device scales and normalises; `ours_normalised` does that as well, as open_clip's transform does.
"""

import json
import sys
import time
from collections.abc import Callable

import cv2
import open_clip
import torch
from machine import machine_facts
from nudenet_stages import NAMES, _data_folder, _read
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

from streamapp.models.clip_pixels import PixelTransform

SIDES_PX = (320, 720, 1080, 1280)
CONFIG = {
    "size": 224,
    "interpolation": "bicubic",
    "resize_mode": "shortest",
    "mean": open_clip.OPENAI_DATASET_MEAN,
    "std": open_clip.OPENAI_DATASET_STD,
}


def main(seconds: float) -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    result = {
        "benchmark": "clip_pixels",
        "unit": "ms of CPU per picture",
        **machine_facts("torch", "torchvision", "open_clip_torch", "pillow"),
        "sides": {f"{side}_px": _compare(side, seconds) for side in SIDES_PX},
    }
    print(json.dumps(result))


def _compare(side_px: int, seconds: float) -> dict[str, float]:
    frames = [_read(_data_folder() / name).pixels for name in NAMES]
    factors = [side_px / max(pixels.shape[:2]) for pixels in frames]
    pictures = [cv2.resize(one, None, fx=by, fy=by) for one, by in zip(frames, factors, strict=True)]
    transform = PixelTransform.from_open_clip(CONFIG)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (transform.mean, transform.std))
    theirs = image_transform_v2(PreprocessCfg(**CONFIG), is_train=False)
    ways: dict[str, Callable[[], object]] = {
        "ours": lambda: [transform(one) for one in pictures],
        "ours_normalised": lambda: [
            torch.from_numpy(transform(one)).permute(2, 0, 1).float().div_(255).sub_(mean).div_(std)
            for one in pictures
        ],
        "open_clip": lambda: [theirs(Image.fromarray(one)) for one in pictures],
    }
    return {name: _cpu_ms(work, len(pictures), seconds) for name, work in ways.items()}


def _cpu_ms(work: Callable[[], object], pictures: int, seconds: float) -> float:
    work()
    rounds, started_at = 0, time.process_time()
    while not rounds or time.process_time() - started_at < seconds:
        work()
        rounds += 1
    return round((time.process_time() - started_at) / rounds / pictures * 1000, 2)


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 2.0)
