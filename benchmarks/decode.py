"""Measure decoding: what draft mode costs in fidelity, and how fast each format is; print one JSON line.

    python benchmarks/decode.py [seconds per measurement]

JPEG's draft mode decodes a large file at 1/2, 1/4 or 1/8 of its size, and never below `frame_side_px`. For
several of these sides, what the models then see is compared with what they see of the whole picture, on
real photos enlarged to those of a phone (12 MP), and on a mosaic of them at their own size, which has as
much detail as a file of that size can have: the lowest PSNR at the input sizes of NudeNet (320 px) and
CLIP (224 px), and the largest difference of any NudeNet class's score. `without_draft` is what scaling the
whole picture to the frame's side costs by itself.

The speeds are of `decode`, on one core, at the default limits: pictures a second, median of the rounds
that fit in the time.
"""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from itertools import cycle, product
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import av
import cv2
import numpy as np
import pillow_heif
from machine import machine_facts
from nudenet_stages import _data_folder
from PIL import Image

import streamapp.local
from streamapp.media import Frame, Pixels
from streamapp.media.decode import Limits, decode
from streamapp.models.nudenet import NudeNet
from streamapp.policy import load_policy

PHOTOS = ("color.png", "motorcycle_left.png", "motorcycle_right.png")
PHONE_SIDE_PX = 4032
FRAME_SIDES_PX = (320, 640, 1280)
INPUT_SIDES_PX = {"nudenet_320": 320, "clip_224": 224}
SPEED_SIDES_PX = (320, 1080, 4000)
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF", "HEIC", "MP4", "WEBM")
VIDEO_FRAMES = 30
LIMITS = Limits()


def main(seconds: float) -> None:
    photos = _photos()
    result: dict[str, Any] = {
        "benchmark": "decode",
        "unit": "files/s",
        **machine_facts("pillow", "pillow-heif", "av", "nudenet", "numpy"),
        "photos": len(photos),
        "draft": {f"frame_side_{side}": _draft_costs(photos, side) for side in FRAME_SIDES_PX},
        "speed": {name: _speeds(name, photos[0], seconds) for name in FORMATS},
        "speed_without_draft": {"JPEG": _undrafted(_speeds, "JPEG", photos[0], seconds)},
    }
    print(json.dumps(result))


def _photos() -> list[Image.Image]:
    """Real photos, at a phone camera's size."""
    samples = Path(streamapp.local.__file__).parent / "samples"
    paths = sorted(samples.glob("*.jpg")) + [_data_folder() / name for name in PHOTOS]
    photos = [Image.open(path).convert("RGB") for path in paths]
    mosaic = Image.new("RGB", (PHONE_SIDE_PX, PHONE_SIDE_PX * 3 // 4))
    places = product(range(0, mosaic.width, 400), range(0, mosaic.height, 300))
    for place, photo in zip(places, cycle(photos), strict=False):
        mosaic.paste(photo, place)
    return [*(_at_side(photo, PHONE_SIDE_PX) for photo in photos), mosaic]


def _at_side(image: Image.Image, side_px: int) -> Image.Image:
    width, height = (round(length * side_px / max(image.size)) for length in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC)


def _draft_costs(photos: list[Image.Image], frame_side_px: int) -> dict[str, Any]:
    """What is lost by draft mode, and what by scaling to the frame's side alone."""
    model = _model()
    limits = replace(LIMITS, frame_side_px=frame_side_px)
    whole = replace(LIMITS, frame_side_px=PHONE_SIDE_PX)
    costs: dict[str, dict[str, list[float]]] = {"with_draft": {}, "without_draft": {}}
    for photo in photos:
        content = _encoded("JPEG", photo)
        reference = decode(content, whole).frames[0]
        drafted = decode(content, limits).frames[0]
        scaled = _undrafted(decode, content, limits).frames[0]
        for name, frame in (("with_draft", drafted), ("without_draft", scaled)):
            found = costs[name]
            for size_name, side_px in INPUT_SIDES_PX.items():
                found.setdefault(f"psnr_db_{size_name}", []).append(_psnr_db(reference, frame, side_px))
            difference = np.abs(_scores(model, reference) - _scores(model, frame)).max()
            found.setdefault("nudenet_score_difference", []).append(float(difference))
    return {
        name: {
            key: round(max(values), 4) if "difference" in key else round(min(values), 1)
            for key, values in found.items()
        }
        for name, found in costs.items()
    }


def _undrafted(work: Callable[..., Any], *arguments: Any) -> Any:
    with patch("PIL.JpegImagePlugin.JpegImageFile.draft", lambda *_: None):
        return work(*arguments)


def _psnr_db(reference: Frame, frame: Frame, side_px: int) -> float:
    a, b = (_input(pixels, side_px).astype(np.float64) for pixels in (reference.pixels, frame.pixels))
    error = float(((a - b) ** 2).mean())
    return 99.0 if error == 0 else min(99.0, 10 * float(np.log10(255**2 / error)))


def _input(pixels: Pixels, side_px: int) -> Pixels:
    """A picture of the model's size, without the model's own filter: an average of areas."""
    return cv2.resize(pixels, (side_px, side_px), interpolation=cv2.INTER_AREA).astype(np.uint8)


def _model() -> NudeNet:
    model = NudeNet(
        weights=None, channel_order="rgb", threads=1, policy=load_policy().nudenet, batch_sizes=(1,)
    )
    model.load()
    return model


def _scores(model: NudeNet, frame: Frame) -> np.ndarray:
    """The best score of each class, ``(18,)``: of all places, so that no threshold hides a difference."""
    (raw,) = model.infer([model.prepare(frame)])
    return raw[4:].max(axis=1)


def _speeds(name: str, photo: Image.Image, seconds: float) -> dict[str, float]:
    rates = {}
    for side_px in SPEED_SIDES_PX:
        content = _encoded(name, _at_side(photo, side_px))
        decode(content, LIMITS)
        durations = []
        end = time.perf_counter() + seconds
        while not durations or time.perf_counter() < end:
            start = time.perf_counter()
            decode(content, LIMITS)
            durations.append(time.perf_counter() - start)
        rates[f"{side_px}_px"] = round(1 / median(durations), 2)
    return rates


def _encoded(name: str, image: Image.Image) -> bytes:
    buffer = BytesIO()
    if name in ("MP4", "WEBM"):
        return _video(name.lower(), image)
    if name == "HEIC":
        pillow_heif.from_pillow(image).save(buffer, quality=80)
    else:
        image.save(buffer, name, **({"speed": 9} if name == "AVIF" else {}))
    return buffer.getvalue()


def _video(container: str, image: Image.Image) -> bytes:
    """A second of a camera that moves over the picture."""
    buffer = BytesIO()
    with av.open(buffer, "w", format=container) as output:
        codec, options = {
            "mp4": ("libx264", {"preset": "veryfast"}),
            "webm": ("libvpx", {"cpu-used": "8", "deadline": "realtime"}),
        }[container]
        stream: Any = output.add_stream(codec, rate=VIDEO_FRAMES, options=options)
        stream.width, stream.height = (length - VIDEO_FRAMES & ~1 for length in image.size)
        stream.pix_fmt = "yuv420p"
        stream.bit_rate = 4 * stream.width * stream.height
        for step in range(VIDEO_FRAMES):
            part = image.crop((step, step, step + stream.width, step + stream.height))
            output.mux(stream.encode(av.VideoFrame.from_image(part)))
        output.mux(stream.encode(None))
    return buffer.getvalue()


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 2.0)
