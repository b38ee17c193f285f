"""The checks of `streamapp doctor`: each looks at one thing and answers with a `Check`."""

import asyncio
import ctypes
import importlib
import importlib.metadata
import platform
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from streamapp.errors import SettingsError, StreamappError, WeightsError
from streamapp.settings import Settings
from streamapp.settings.origins import variable_name

BROKER_TIMEOUT_S = 15.0
MIN_FREE_BYTES = 2 * 2**30
OLDEST_PYTHON = (3, 11)

# Distributions whose module is not their name with underscores.
_MODULES = {
    "faust-streaming": "faust",
    "opencv-python-headless": "cv2",
    "pillow": "PIL",
    "python-dotenv": "dotenv",
    "open-clip-torch": "open_clip",
    "pyyaml": "yaml",
}
_ADJTIMEX_ERROR = 5  # TIME_ERROR: the kernel's clock is not synchronised
_TIMEX_BYTES = 512  # more than struct timex has anywhere


class State(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Check:
    """One check's outcome.

    Attributes:
        detail: what was found.
        remedy: what to do; empty where nothing needs doing.
    """

    name: str
    state: State
    detail: str
    remedy: str = ""


def check_python(version: tuple[int, ...] = sys.version_info[:3]) -> Check:
    """Python is new enough."""
    found = ".".join(map(str, version))
    if version < OLDEST_PYTHON:
        needed = ".".join(map(str, OLDEST_PYTHON))
        return Check("python", State.FAIL, f"{found} is too old.", f"Install Python {needed} or newer.")
    return Check("python", State.OK, f"{found} on {platform.system()} {platform.machine()}.")


def check_packages(requirements: Sequence[str] | None = None) -> Check:
    """Everything that streamapp depends on can be imported.

    Args:
        requirements: as in the package's metadata, extras included; None: streamapp's own.
    """
    if requirements is None:
        requirements = importlib.metadata.requires("streamapp") or []
    broken: list[str] = []
    needed = _distributions(requirements)
    for distribution in needed:
        try:
            importlib.import_module(_MODULES.get(distribution, distribution.replace("-", "_")))
        except Exception as exc:  # a binary wheel for another machine raises whatever it likes
            broken.append(f"{distribution}: {exc}")
    if broken:
        return Check("packages", State.FAIL, "; ".join(broken), "Run `make setup`, or pip install streamapp.")
    return Check("packages", State.OK, f"All {len(needed)} can be imported.")


def _distributions(requirements: Sequence[str]) -> list[str]:
    """The names of what is needed here: no extras, nothing for other systems."""
    names: list[str] = []
    for requirement in requirements:
        specifier, _, marker = requirement.partition(";")
        is_for_another_system = "sys_platform" in marker and sys.platform == "win32"
        match = re.match(r"[A-Za-z0-9._-]+", specifier)
        if match and "extra" not in marker and not is_for_another_system:
            names.append(match[0].lower())
    return names


def check_broker(settings: Settings) -> tuple[Check, Check]:
    """The broker answers, and has the three topics; nothing is created."""
    remedy = (
        "Start Kafka (`streamapp broker` for a trial), or set STREAMAPP_BROKERS and "
        "STREAMAPP_SECURITY_PROTOCOL."
    )
    # Imported here, so that a package that can't be imported is one failed check and no more.
    try:
        from streamapp.topics import ensure_topics

        async def find_topics() -> list[tuple[str, int]]:
            async with asyncio.timeout(BROKER_TIMEOUT_S):
                return [(t.name, t.partitions) for t in await ensure_topics(settings, create=False)]

        topics = asyncio.run(find_topics())
    except TimeoutError:
        problem = f"{settings.brokers} did not answer within {BROKER_TIMEOUT_S:g} s."
    except SettingsError as exc:
        # It names the setting: there is a broker.
        problem, remedy = str(exc), ""
    except Exception as exc:
        problem = str(exc) if isinstance(exc, StreamappError) else repr(exc)
    else:
        protocol = settings.security_protocol
        return Check("broker", State.OK, f"{settings.brokers} answers ({protocol})."), _check_topics(topics)
    return (
        Check("broker", State.FAIL, problem, remedy),
        Check("topics", State.SKIPPED, "The broker does not answer."),
    )


def _check_topics(topics: Sequence[tuple[str, int]]) -> Check:
    """Every topic of (name, partitions) is there."""
    found = ", ".join(f"{name}: {count or 'missing'}" for name, count in topics)
    if all(count for _, count in topics):
        return Check("topics", State.OK, f"Partitions of {found}.")
    return Check(
        "topics", State.FAIL, f"Partitions of {found}.", "`streamapp topics` creates what is missing."
    )


def check_weights(settings: Settings) -> Check:
    """The weights of each model that is on are there, are the expected ones, and know photos."""
    try:
        names = _look_for_weights(settings)
    except SettingsError as exc:
        return Check("weights", State.FAIL, str(exc), "`streamapp policy check` looks at the policy alone.")
    except WeightsError as exc:
        return Check("weights", State.FAIL, str(exc), "See what each sentence says.")
    detail = f"{', '.join(names)}: there, digest as expected."
    tiny = _models_with_the_tiny_clip(settings)
    if not tiny:
        return Check("weights", State.OK, detail)
    variables = " and ".join(variable_name(f"{name}_model") for name in tiny)
    return Check(
        "weights",
        State.WARN,
        f"{detail} The tiny CLIP of {' and '.join(tiny)} knows emoji, not photos: for demos and tests only.",
        f"For photos set {variables} to ViT-B-16 and run `streamapp models fetch`.",
    )


def _look_for_weights(settings: Settings) -> list[str]:
    """The networks that are on, whose weights are all as expected.

    Raises:
        SettingsError: the policy or a setting rules a model out.
        WeightsError: weights are missing or wrong.
    """
    from streamapp.models import registry
    from streamapp.policy import load_policy

    policy = load_policy(settings.policy_file)
    registry.check_weights(settings, policy)
    return list(registry.model_specs(settings, policy))


def _models_with_the_tiny_clip(settings: Settings) -> list[str]:
    """The models that are on and run on the CLIP that the package carries for demos."""
    backbones = {"clip": settings.clip_model, "coop": settings.coop_model}
    on = {name: model.lower() for name, model in backbones.items() if name in settings.models}
    if not on:
        return []
    # Only where CLIP or CoOp is on: it imports torch.
    from streamapp.models.clip_source import TINY

    return [name for name, model in on.items() if model == TINY]


def check_disk(folders: Mapping[str, Path], min_free_bytes: int = MIN_FREE_BYTES) -> Check:
    """There is room, for each folder or for the nearest one above it that exists."""
    found: list[str] = []
    is_short = False
    for label, folder in folders.items():
        existing = next(
            parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists()
        )
        free = shutil.disk_usage(existing).free
        is_short = is_short or free < min_free_bytes
        found.append(f"{label} {free / 2**30:.1f} GiB")
    detail = f"Free: {', '.join(found)}."
    if is_short:
        return Check("disk", State.WARN, detail, f"Keep {min_free_bytes / 2**30:g} GiB free for model files.")
    return Check("disk", State.OK, detail)


def check_clock() -> Check:
    """Ask the kernel whether the clock is synchronised: TLS, AWS and the rows' times rely on it.

    A remote clock to compare with would need the network; the kernel's own word does not.
    """
    remedy = "Run chrony, ntpd or systemd-timesyncd; in a container, on its host."
    state = _adjtimex()
    if state is None:
        return Check("clock", State.WARN, "This system does not tell whether it is synchronised.", remedy)
    if state == _ADJTIMEX_ERROR:
        return Check("clock", State.WARN, "The kernel says that it is not synchronised.", remedy)
    return Check("clock", State.OK, "The kernel says that it is synchronised.")


def _adjtimex() -> int | None:
    """The clock state by Linux's adjtimex(2), asked with modes = 0, which changes nothing."""
    if sys.platform != "linux":
        return None
    state: int = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    return state if state >= 0 else None


def check_formats() -> Check:
    """Pillow can decode what profile pictures come in."""
    from PIL import features

    missing = [name for name in ("jpg", "zlib", "webp", "avif") if not features.check(name)]
    if missing:
        remedy = "Install Pillow's own wheel; pictures of these formats would all get STATUS 1."
        return Check("formats", State.FAIL, f"Pillow lacks {', '.join(missing)}.", remedy)
    return Check("formats", State.OK, "Pillow decodes JPEG, PNG, GIF, WebP and AVIF.")
