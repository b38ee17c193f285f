"""Which models there are: name in the settings → how one is built. A new model is a line here."""

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass

from streamapp.errors import SettingsError
from streamapp.models.base import AnyModel
from streamapp.models.ensemble import Ensemble
from streamapp.models.nudenet import NudeNet
from streamapp.models.runner import ModelRunner
from streamapp.policy import Policy
from streamapp.settings import Settings


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """How a worker runs one model.

    Attributes:
        make: makes one instance; touches neither files nor devices.
        instances: instances in the worker, each with a thread of its own.
        max_queued: frames that wait for the model before submitters wait.
    """

    make: Callable[[], AnyModel]
    instances: int
    max_queued: int


def model_specs(settings: Settings, policy: Policy) -> dict[str, ModelSpec]:
    """The models that are switched on, in the setting's order.

    Raises:
        SettingsError: the policy does not say what the verdict of one does.
    """
    for name in settings.models:
        if name not in policy.modes:
            raise SettingsError(
                f"The policy {policy.version} does not name {name}: add `{name}: {{mode: shadow}}` to `models`."
            )
    known = {
        "nudenet": lambda: ModelSpec(
            make=lambda: NudeNet(
                weights=settings.nudenet_weights,
                channel_order=settings.nudenet_channel_order,
                threads=settings.nudenet_threads,
                policy=policy.nudenet,
            ),
            instances=settings.nudenet_instances,
            max_queued=settings.nudenet_queue,
        ),
    }
    return {name: known[name]() for name in settings.models}


def build_models(settings: Settings, policy: Policy) -> list[AnyModel]:
    """One unloaded instance of each model that is on, to check its weights or to ask for its info."""
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
