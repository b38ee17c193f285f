"""The objects under deploy/kubernetes: as they are written, and as kustomize builds them."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from dotenv import dotenv_values

from streamapp.settings import Settings, load_settings

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy/kubernetes"
OVERLAYS = ("cpu", "gpu-g4dn")

# Memory of an idle worker on a GPU: overlays/gpu-g4dn/settings.env assumes it. That on a CPU is measured.
GPU_IDLE_BYTES = 4.0e9

# What the pods take from secrets.
SECRETS = {"STREAMAPP_SASL_USERNAME": "user", "STREAMAPP_SASL_PASSWORD": "password"}

Object = dict[str, Any]


def written(file: str) -> list[Object]:
    """The objects of one file, by its path below deploy/kubernetes."""
    return list(yaml.safe_load_all((KUBERNETES / file).read_text("utf-8")))


def only(file: str) -> Object:
    """The object of a file that has one."""
    (single,) = written(file)
    return single


def files(pattern: str) -> list[str]:
    """Files with objects, without kustomize's own and the overlays' patches."""
    return [
        str(path.relative_to(KUBERNETES))
        for path in sorted(KUBERNETES.glob(pattern))
        if path.name != "kustomization.yaml"
    ]


def pod() -> Object:
    """The worker's pod as base has it."""
    spec: Object = only("base/deployment.yaml")["spec"]["template"]["spec"]
    return spec


def variables(overlay: str) -> dict[str, str]:
    """The environment that the ConfigMap of an overlay gives: base's values under the overlay's own."""
    found: dict[str, str] = {}
    for folder in ("base", f"overlays/{overlay}"):
        values = dotenv_values(KUBERNETES / folder / "settings.env", interpolate=False)
        found |= {name: value for name, value in values.items() if value is not None}
    return found


def settings_of(overlay: str) -> Settings:
    """The settings of an overlay's workers."""
    return load_settings(variables(overlay) | SECRETS)


def patch_of(overlay: str) -> Object:
    """What an overlay adds to the worker's pod."""
    spec: Object = only(f"overlays/{overlay}/worker.yaml")["spec"]["template"]["spec"]
    return spec


def built(folder: Path) -> list[Object]:
    """What kustomize makes of a folder; skips the test where there is none."""
    kubectl, kustomize = shutil.which("kubectl"), shutil.which("kustomize")
    if kubectl is None and kustomize is None:
        pytest.skip("neither kubectl nor kustomize is on the PATH")
    command = [kubectl, "kustomize"] if kubectl else [str(kustomize), "build"]
    done = subprocess.run([*command, str(folder)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))
