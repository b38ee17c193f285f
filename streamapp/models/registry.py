"""Which models there are: name in the settings → how one is built. A new one: docs/add-a-model.md."""

import os
from collections.abc import Callable
from concurrent.futures import Executor

from streamapp.errors import SettingsError
from streamapp.models.base import AnyNetwork
from streamapp.models.ensemble import Ensemble
from streamapp.models.middle_finger import MiddleFinger
from streamapp.models.nudenet import NudeNet
from streamapp.models.onnx_session import chosen_device
from streamapp.models.runner import ModelRunner, ModelSpec
from streamapp.models.store import Store
from streamapp.policy import Policy
from streamapp.settings import Settings

EMBEDDING_HEADS = ("clip", "coop")


def model_specs(settings: Settings, policy: Policy) -> dict[str, ModelSpec]:
    """The networks of the models that are switched on, in the setting's order; CLIP and CoOp may be one.

    Raises:
        SettingsError: the policy does not say what the verdict of one does, or there is no such CLIP.
    """
    for name in settings.models:
        if name not in policy.modes:
            raise SettingsError(
                f"The policy {policy.version} does not name {name}: "
                f"add `{name}: {{mode: shadow}}` to its models."
            )
    store = Store(settings)
    known: dict[str, Callable[[], ModelSpec]] = {
        "nudenet": lambda: ModelSpec(
            make=lambda: NudeNet(
                weights=settings.nudenet_weights,
                channel_order=settings.nudenet_channel_order,
                threads=settings.nudenet_threads,
                policy=policy.nudenet,
                device=chosen_device(settings.nudenet_device),
            ),
            instances=settings.nudenet_instances,
            max_queued=settings.nudenet_queue,
        ),
        "mfd": lambda: ModelSpec(
            make=lambda: MiddleFinger(
                palm=store.locate("mfd-palm").path,
                landmark=store.locate("mfd-landmark").path,
                threads=settings.mfd_threads,
                threshold=policy.threshold("mfd"),
                device=chosen_device(settings.mfd_device),
            ),
            instances=settings.mfd_instances,
            max_queued=settings.mfd_queue,
        ),
    }
    specs: dict[str, ModelSpec] = {}
    for name in settings.models:
        if name in known:
            specs[name] = known[name]()
        elif name in EMBEDDING_HEADS:
            specs |= _embedder_specs(settings, policy)
        else:
            raise RuntimeError(f"{name} is one of KNOWN_MODELS, and nothing here makes one. This is a bug.")
    return specs


def _embedder_specs(settings: Settings, policy: Policy) -> dict[str, ModelSpec]:
    # Before torch is imported: its OpenMP threads spin by default while they wait, on the cores that decode
    # and prepare. On 2 busy cores that made a small CLIP 60 times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Here, so that a worker without CLIP and CoOp does without torch, which takes seconds to import.
    from streamapp.models.clip_setup import embedder_specs

    return embedder_specs(settings, policy.taxonomy)


def build_models(settings: Settings, policy: Policy) -> list[AnyNetwork]:
    """One unloaded instance of each network that is on, to check its weights or to ask for its info."""
    return [spec.make() for spec in model_specs(settings, policy).values()]


def build_ensemble(settings: Settings, policy: Policy, cpu: Executor) -> Ensemble:
    """The models that are on, each with its own batcher, queue and threads; not loaded yet."""
    return Ensemble(
        [
            ModelRunner(
                spec.make,
                cpu,
                instances=spec.instances,
                max_queued=spec.max_queued,
                max_wait_s=settings.batch_wait_s,
                timeout_s=settings.model_timeout_s,
            )
            for spec in model_specs(settings, policy).values()
        ]
    )
