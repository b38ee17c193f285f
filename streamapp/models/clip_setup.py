"""From the settings to CLIP and CoOp: which backbones there are, on which device, with which heads."""

import logging
from collections.abc import Callable, Sequence

import torch

from streamapp.models.clip import ImageEmbedder
from streamapp.models.clip_backbone import ClipBackbone
from streamapp.models.clip_heads import CLIP, COOP, ClipHead, CoopHead, EmbeddingHead
from streamapp.models.clip_source import TINY, ClipSource, open_clip_source, tiny_source
from streamapp.models.clip_texts import TextCache
from streamapp.models.runner import ModelSpec
from streamapp.models.store import Store
from streamapp.models.weights import WeightsFile
from streamapp.policy import Taxonomy
from streamapp.settings import Settings
from streamapp.settings.origins import variable_name

logger = logging.getLogger(__name__)

COOP_ARTIFACT = "coop"
_COOP_ARTIFACT_CLIP = "ViT-B-16/openai"  # what the old deployment's checkpoint was trained on
_GPU_BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64)
_CPU_BATCH_SIZES = (1, 2, 4, 8, 16)


def embedder_specs(settings: Settings, taxonomy: Taxonomy) -> dict[str, ModelSpec]:
    """CLIP and CoOp, as far as they are on: one network where they share a backbone, else one each.

    Returns:
        The network's name → how it is run.

    Raises:
        SettingsError: a CLIP is not known, or the device can't be had.
    """
    device = device_for(settings)
    sources = {name: clip_source(settings, name) for name in settings.models if name in {CLIP, COOP}}
    groups: dict[ClipSource, list[str]] = {}
    for name, source in sources.items():
        groups.setdefault(source, []).append(name)
    share = settings.clip_gpu_share * settings.clip_instances * len(groups)
    return {
        "+".join(names): ModelSpec(
            make=_maker(settings, taxonomy, source, names, device, share),
            # Instances of the old deployment are lanes here: they share the weights.
            instances=1,
            max_queued=settings.clip_queue,
        )
        for source, names in groups.items()
    }


def _maker(
    settings: Settings,
    taxonomy: Taxonomy,
    source: ClipSource,
    names: Sequence[str],
    device: str,
    memory_share: float,
) -> Callable[[], ImageEmbedder]:
    def make() -> ImageEmbedder:
        backbone = ClipBackbone(
            source,
            device=device,
            precision=settings.clip_precision,
            threads=settings.clip_threads,
            memory_share=memory_share,
        )
        texts = TextCache(settings.model_cache / "texts")
        heads: dict[str, EmbeddingHead] = {
            CLIP: ClipHead(backbone, taxonomy, texts),
            COOP: CoopHead(backbone, taxonomy, texts, coop_weights(settings, source)),
        }
        on_gpu = device != "cpu"
        return ImageEmbedder(
            backbone,
            [heads[name] for name in names],
            # A GPU's second lane copies and finishes one batch while the first one's is computed.
            lanes=settings.clip_instances * (2 if on_gpu else 1),
            batch_sizes=_GPU_BATCH_SIZES if on_gpu else _CPU_BATCH_SIZES,
        )

    return make


def device_for(settings: Settings) -> str:
    """The device of CLIP and CoOp: the one that is asked for, or what there is.

    Returns:
        ``cpu``, ``cuda`` or ``cuda:<index>``; whether an explicit one is there is not asked here.
    """
    if settings.clip_device not in {None, "auto"}:
        return str(settings.clip_device)
    if settings.clip_device is None and settings.clip_gpu_share == 0:
        return "cpu"
    if torch.cuda.is_available():
        return "cuda"
    if settings.clip_gpu_share > 0:
        logger.warning(
            "%s is %g, but torch sees no CUDA device: CLIP and CoOp run on the CPU, many times slower.",
            *(variable_name("clip_gpu_share"), settings.clip_gpu_share),
        )
    return "cpu"


def clip_source(settings: Settings, head: str) -> ClipSource:
    """The backbone of a head. Equal sources are one network.

    Raises:
        SettingsError: open_clip does not know it.
    """
    model = settings.clip_model if head == CLIP else settings.coop_model
    if model.lower() == TINY:
        return tiny_source()
    is_same = model.replace("/", "-") == settings.clip_model.replace("/", "-")
    is_shared = head == COOP and settings.coop_clip_weights is None and is_same
    field = "clip_weights" if head == CLIP or is_shared else "coop_clip_weights"
    return open_clip_source(
        model, own=getattr(settings, field), setting=variable_name(field), locate=Store(settings).locate
    )


def coop_weights(settings: Settings, source: ClipSource) -> Callable[[], WeightsFile] | None:
    """Finds CoOp's weights; None where none are configured.

    The user's own file counts always. The artifact belongs to the old deployment's backbone: with that
    one it is asked for where a bucket could have it, and taken where it was fetched before.
    """
    store = Store(settings)
    if settings.coop_weights is None:
        path = store.path(COOP_ARTIFACT)
        is_there = path is not None and path.exists()
        if source.title != _COOP_ARTIFACT_CLIP or not (settings.ai_model_bucket or is_there):
            return None
    return lambda: store.locate(COOP_ARTIFACT)
