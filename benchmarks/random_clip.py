"""A CLIP with random weights, where the real ones are not at hand: as fast as any, and of no other use."""

from pathlib import Path

import open_clip
import torch
from safetensors.torch import save_file


def write_random_clip(folder: Path, name: str = "ViT-B-16") -> Path:
    """Write seeded random weights of an open_clip network as fp16 safetensors, and say where."""
    path = folder / f"random-{name}.safetensors"
    torch.manual_seed(0)
    model = open_clip.create_model(name)
    save_file({key: value.half().contiguous() for key, value in model.state_dict().items()}, path)
    return path
