"""The network: open_clip's own CLIP from a small config, and the vocabulary that goes with it."""

import gzip
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.tokenizer import SimpleTokenizer, default_bpe
from safetensors.torch import save_file

from streamapp.models.tiny_clip import CONFIG_FILE, NAME, VOCABULARY_FILE, WEIGHTS_FILE
from training.tiny_clip.files import replaced

EMBED_DIM = 128
IMAGE_SIDE_PX = 64
CONTEXT_LENGTH = 32

_MERGES = 4000
_BYTE_TOKENS, _SPECIAL_TOKENS = 512, 2

CONFIG: dict[str, Any] = {
    "embed_dim": EMBED_DIM,
    "vision_cfg": {"image_size": IMAGE_SIDE_PX, "layers": [1, 2, 2, 1], "width": 16, "head_width": 64},
    "text_cfg": {
        "context_length": CONTEXT_LENGTH,
        "vocab_size": _BYTE_TOKENS + _MERGES + _SPECIAL_TOKENS,
        "width": 128,
        "heads": 4,
        "layers": 3,
    },
}


@dataclass(frozen=True, slots=True)
class TinyClip:
    """A network with its tokenizer and open_clip's own preparation of pictures for inference."""

    model: open_clip.CLIP
    tokenizer: SimpleTokenizer
    prepare: Any


def write_config(folder: Path) -> None:
    """Write the open_clip config and the vocabulary: the first merges of CLIP's own, a valid smaller BPE."""
    with replaced(folder / CONFIG_FILE) as part:
        part.write_text(json.dumps(CONFIG, indent=2) + "\n", encoding="utf-8")
    lines = gzip.decompress(Path(default_bpe()).read_bytes()).decode("utf-8").split("\n")[: 1 + _MERGES]
    # No final newline: open_clip would read an empty merge behind it, and every id after it would shift.
    with replaced(folder / VOCABULARY_FILE) as part:
        part.write_bytes(gzip.compress("\n".join(lines).encode("utf-8"), mtime=0))


def create(folder: Path, weights: Path | None = None) -> TinyClip:
    """Make the network as any user of open_clip would.

    Args:
        folder: has the config and the vocabulary.
        weights: a safetensors file; None for random weights.
    """
    open_clip.add_model_config(folder / CONFIG_FILE)
    model, _, prepare = open_clip.create_model_and_transforms(
        NAME, pretrained=str(weights) if weights else None
    )
    tokenizer = open_clip.get_tokenizer(NAME, bpe_path=str(folder / VOCABULARY_FILE))
    if tokenizer.vocab_size != CONFIG["text_cfg"]["vocab_size"]:
        raise ValueError(
            f"{folder / VOCABULARY_FILE} gives {tokenizer.vocab_size} tokens, the config says "
            f"{CONFIG['text_cfg']['vocab_size']}: write both anew."
        )
    return TinyClip(model, tokenizer, prepare)


def load(folder: Path) -> TinyClip:
    """Load an export for inference, through its own files only."""
    tiny = create(folder, folder / WEIGHTS_FILE)
    tiny.model.eval().requires_grad_(False)
    return tiny


def save_weights(folder: Path, state: dict[str, torch.Tensor]) -> None:
    """Write a state dict as fp16 safetensors, atomically."""
    halves = {
        name: (tensor.half() if tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in state.items()
    }
    with replaced(folder / WEIGHTS_FILE) as part:
        save_file(halves, part)
