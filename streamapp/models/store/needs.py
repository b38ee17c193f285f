"""Which artifacts the models that are on need, by the settings."""

from collections.abc import Iterator

from streamapp.models.store.lock import load_lock
from streamapp.settings import Settings


def needed_artifacts(settings: Settings) -> tuple[str, ...]:
    """The artifacts that the models that are on need, each once, in the models' order."""
    return tuple(dict.fromkeys(name for model in settings.models for name in _needed_by(model, settings)))


def _needed_by(model: str, settings: Settings) -> Iterator[str]:
    match model:
        case "nudenet":
            yield "nudenet"
        case "mfd":
            yield from ("mfd-palm", "mfd-landmark")
        case "clip" if settings.clip_weights is None:
            yield from _clip_artifact(settings.clip_model)
        case "coop":
            yield from _needed_by_coop(settings)


def _needed_by_coop(settings: Settings) -> Iterator[str]:
    """CoOp's backbone, and its prompts where they are configured or a bucket could have them."""
    is_shared = _dashed(settings.coop_model) == _dashed(settings.clip_model)
    own = settings.coop_clip_weights or (settings.clip_weights if is_shared else None)
    backbone = tuple(_clip_artifact(settings.coop_model))
    if own is None:
        yield from backbone
    if settings.coop_weights is not None or (settings.ai_model_bucket and backbone == ("clip-vit-b-16",)):
        yield "coop"


def _clip_artifact(model: str) -> Iterator[str]:
    """The artifact of a CLIP by open_clip's name; none for the package's own and for what is not pinned."""
    name = "clip-" + _dashed(model).lower().removesuffix("-openai")
    if name in load_lock():
        yield name


def _dashed(model: str) -> str:
    """One spelling of a CLIP's name: ViT-B/16 is ViT-B-16."""
    return model.replace("/", "-")
