"""Which models there are: name in the settings → how one is built. A new one: docs/add-a-model.md."""

import logging
from collections.abc import Iterable
from concurrent.futures import Executor
from importlib import import_module

from streamapp.errors import SettingsError, WeightsError
from streamapp.models import added
from streamapp.models.base import AnyNetwork
from streamapp.models.ensemble import Ensemble
from streamapp.models.middle_finger import LANDMARK, PALM, MiddleFinger
from streamapp.models.nudenet import NudeNet
from streamapp.models.onnx_session import chosen_device
from streamapp.models.openmp import wait_without_spinning
from streamapp.models.runner import ModelRunner, ModelSpec
from streamapp.models.store import Store, needed_artifacts
from streamapp.policy import Policy
from streamapp.records import ModelAttributes
from streamapp.settings import Settings

EMBEDDING_HEADS = ("clip", "coop")

logger = logging.getLogger(__name__)


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
    known = {"nudenet": _nudenet_spec, "mfd": _mfd_spec}
    specs: dict[str, ModelSpec] = {}
    for name in settings.models:
        if name in known:
            specs[name] = known[name](settings, policy)
        elif name in EMBEDDING_HEADS:
            specs |= _embedder_specs(settings, policy)
        else:
            specs[name] = _added_spec(name, settings, policy)
    return specs


def _nudenet_spec(settings: Settings, policy: Policy) -> ModelSpec:
    device = chosen_device(settings.nudenet_device)
    return ModelSpec(
        make=lambda: NudeNet(
            weights=settings.nudenet_weights,
            channel_order=settings.nudenet_channel_order,
            threads=settings.nudenet_threads,
            policy=policy.nudenet,
            device=device,
        ),
        instances=settings.nudenet_instances,
        max_queued=settings.nudenet_queue,
    )


def _mfd_spec(settings: Settings, policy: Policy) -> ModelSpec:
    device = chosen_device(settings.mfd_device)
    store = Store(settings)
    return ModelSpec(
        make=lambda: MiddleFinger(
            palm=lambda: store.locate(PALM),
            landmark=lambda: store.locate(LANDMARK),
            threads=settings.mfd_threads,
            threshold=policy.threshold("mfd"),
            device=device,
        ),
        instances=settings.mfd_instances,
        max_queued=settings.mfd_queue,
    )


def _embedder_specs(settings: Settings, policy: Policy) -> dict[str, ModelSpec]:
    wait_without_spinning()
    # Here, so that a worker without CLIP and CoOp does without torch, which takes seconds to import.
    from streamapp.models.clip_setup import embedder_specs

    return embedder_specs(settings, policy.taxonomy)


def _added_spec(name: str, settings: Settings, policy: Policy) -> ModelSpec:
    """The model of a file in `streamapp.models.added`.

    Raises:
        SettingsError: the file makes no model of its own name, or one that writes another model's columns.
    """
    module = import_module(f"{added.__name__}.{name}")
    make_spec = getattr(module, "model_spec", None)
    if make_spec is None:
        raise SettingsError(
            f"{module.__file__} defines no `model_spec(settings, policy)`: see docs/add-a-model.md."
        )
    spec: ModelSpec = make_spec(settings, policy)
    heads = spec.make().heads
    names = [head.name for head in heads]
    if names != [name]:
        raise SettingsError(
            f"{module.__file__} makes {', '.join(names)}: a model has the name of its file, {name}."
        )
    if f"{heads[0].prefix}_STATUS" in ModelAttributes.__struct_fields__:
        raise SettingsError(
            f"{module.__file__} has the prefix {heads[0].prefix}, which is another model's in the row: "
            "give it one of its own."
        )
    return spec


def build_models(settings: Settings, policy: Policy) -> list[AnyNetwork]:
    """One unloaded instance of each network that is on."""
    return [spec.make() for spec in model_specs(settings, policy).values()]


def check_weights(settings: Settings, policy: Policy) -> None:
    """Make sure, without loading them, that the files of all models that are on are the expected ones.

    Raises:
        SettingsError: as `model_specs`.
        WeightsError: all that are missing, in one sentence; or all that can't be used.
    """
    _check_weights(settings, build_models(settings, policy))


def build_ensemble(settings: Settings, policy: Policy, cpu: Executor) -> Ensemble:
    """The models that are on, each with its own batcher, queue and threads; checked, and not loaded yet.

    Raises:
        SettingsError, WeightsError: as `check_weights`.
    """
    runners = [
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
    networks = [runner.network for runner in runners]
    _check_weights(settings, networks)
    if not any(
        head.moderates and policy.modes[head.name] == "enforce" for one in networks for head in one.heads
    ):
        logger.warning(
            "None of the models that are on (%s) has a say in TO_BE_MODERATED: no row will ask for a person, "
            "not even of a picture that can't be had.",
            ", ".join(settings.models),
        )
    return Ensemble(runners)


def _check_weights(settings: Settings, networks: Iterable[AnyNetwork]) -> None:
    Store(settings).require(needed_artifacts(settings))
    problems: list[str] = []
    for network in networks:
        try:
            network.check_weights()
        except WeightsError as exc:
            problems.append(str(exc))
    if problems:
        raise WeightsError("\n".join(problems))
