"""KaiyangZhou/CoOp's checkpoints ``prompt_learner/model.pth.tar-EPOCH``: their context and nothing else."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from streamapp.errors import WeightsError


class _Inert:
    """Stands for every class that a checkpoint names and torch does not know to be harmless.

    Such files carry their learning-rate scheduler as an object, which ``weights_only`` refuses; with this in
    its place the tensors can be read, and nothing that the file names is imported or called.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> "_Inert":
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        """Forget it."""


def _plain_dict(*args: Any) -> dict[Any, Any]:
    """Stands for defaultdict, in which optimizers keep their state: items are only put into real dicts."""
    return {}


_STAND_INS = {"collections.defaultdict": _plain_dict}


def read_context(path: Path) -> Tensor:
    """Read the learnt context of a checkpoint; its token prefix and suffix are the tokenizer's, and ignored.

    Returns:
        (M, W) float32, or (C, M, W) for a context of each class; W is the text width of the CLIP it was
        trained on: 512 for ViT-B, 768 for ViT-L-14.

    Raises:
        WeightsError: the file is missing, is no such checkpoint, or its numbers are not finite.
    """
    try:
        unknown = get_unsafe_globals_in_checkpoint(path)
        stand_ins: list[Any] = [(_STAND_INS.get(name, _Inert), name) for name in unknown]
        with safe_globals(stand_ins):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as exc:
        raise WeightsError(f"There is no CoOp checkpoint at {path}.") from exc
    except Exception as exc:  # torch promises no closed set for broken files
        raise WeightsError(f"{path} can't be read as a CoOp checkpoint: {_first_line(exc)}") from exc
    state = content.get("state_dict") if isinstance(content, dict) else None
    context = state.get("ctx") if isinstance(state, dict) else None
    if not isinstance(context, Tensor) or context.dim() not in (2, 3):
        raise WeightsError(f"{path} is no CoOp checkpoint: it has no state_dict with a context `ctx`.")
    context = context.float()
    if not bool(context.isfinite().all()):
        raise WeightsError(f"The context in {path} has numbers that are not finite.")
    return context


def check_context(path: Path, context: Tensor, *, classes: int, width: int, clip_name: str) -> None:
    """Make sure that a context fits a network and the number of classes.

    Args:
        path: of the checkpoint, for the message.
        width: of the network's text tower.

    Raises:
        WeightsError: it was trained on another network, or for other classes.
    """
    if context.shape[-1] != width:
        raise WeightsError(
            f"The checkpoint {path} was trained on another CLIP: its context vectors have "
            f"{context.shape[-1]} numbers, those of {clip_name} have {width}."
        )
    if context.dim() == 3 and len(context) != classes:
        raise WeightsError(
            f"The checkpoint {path} has contexts for {len(context)} classes, but {classes} are named."
        )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
