"""Which CLIP the commands of `streamapp coop` work with: their options, and loading it."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from streamapp.settings import Settings

if TYPE_CHECKING:
    from streamapp.models.clip_network import ClipNetwork

Command = TypeVar("Command", bound=Callable[..., Any])


def clip_options(default: str) -> Callable[[Command], Command]:
    """The options that say which CLIP, where its weights are and what it runs on.

    Args:
        default: what stands for a CLIP that is not named, in words.
    """
    options = (
        click.option(
            "--clip",
            "clip_name",
            metavar="NAME",
            help=f"open_clip's name, or name/tag; tiny: the one in the package. [default: {default}]",
        ),
        click.option(
            "--clip-weights",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            metavar="FILE",
            help="CLIP's weights. [default: as the worker finds them, see `streamapp models`]",
        ),
        click.option(
            "--device", metavar="NAME", help="cpu, cuda or cuda:N. [default: cuda where there is one]"
        ),
    )

    def add(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def open_clip(
    settings: Settings, *, clip_name: str | None, clip_weights: Path | None, device: str | None, **others: Any
) -> "ClipNetwork":
    """Load the CLIP onto its device.

    Args:
        clip_name, clip_weights: instead of the settings' CLIP of CoOp.
        others: options that are about something else.

    Raises:
        click.UsageError: the two do not go together.
        SettingsError: there is no such CLIP or device.
        WeightsError: its weights are missing or are not its own.
    """
    import torch

    from streamapp.models import tiny_clip
    from streamapp.models.clip_heads import COOP
    from streamapp.models.clip_network import load_network
    from streamapp.models.clip_setup import clip_source
    from streamapp.models.clip_source import TINY
    from streamapp.models.torch_device import require_device

    if clip_weights is not None and clip_name in {TINY, tiny_clip.NAME}:
        raise click.UsageError(
            f"--clip {clip_name} has its weights in the package: leave --clip-weights away."
        )
    chosen: dict[str, Any] = {}
    if clip_name is not None:
        chosen["coop_model"] = TINY if clip_name == tiny_clip.NAME else clip_name
    if clip_weights is not None:
        chosen["coop_clip_weights"] = clip_weights
    source = clip_source(settings.model_copy(update=chosen), COOP)
    place = require_device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    clip = load_network(source, source.locate())
    clip.model.to(place)
    return clip
