"""deploy/kubernetes agrees with Kubernetes' schemas, the code, the image and itself. No cluster is asked."""

import re
import shutil
from pathlib import Path
from typing import Any

import click
import kubernetes_validate
import pytest
from kubernetes_objects import (
    GPU_IDLE_BYTES,
    KUBERNETES,
    OVERLAYS,
    ROOT,
    SECRETS,
    Object,
    built,
    files,
    only,
    patch_of,
    pod,
    settings_of,
    variables,
    written,
)

from streamapp import __version__
from streamapp.cli import group
from streamapp.pages import add_pages
from streamapp.plan import Worker, memory_bound_bytes
from streamapp.settings import Settings, load_settings
from streamapp.settings.lookup import KNOWN_NAMES
from streamapp.settings.origins import is_secret

# The oldest that clouds still support, and the newest that is known here.
VERSIONS = ("1.31", "1.37")
LABELS = only("base/deployment.yaml")["spec"]["template"]["metadata"]["labels"]
IDLE_BYTES = {"cpu": Worker(1.0).idle_bytes, "gpu-g4dn": GPU_IDLE_BYTES}
# Of a g4dn.xlarge's 4 vCPU and 16 GiB, what is left for pods, less 0.3 and 0.5 GiB for the usual daemons.
G4DN_CPU, G4DN_BYTES = 3.9 - 0.3, (14.4 - 0.5) * 2**30


def containers() -> list[Object]:
    return [*pod()["initContainers"], *pod()["containers"]]


def worker() -> Object:
    (container,) = pod()["containers"]
    found: Object = container
    return found


def quantity(text: str | int) -> float:
    """Kubernetes' notation as a number."""
    match = re.fullmatch(r"([\d.]+)(m|Mi|Gi|)", str(text))
    assert match is not None, text
    return float(match[1]) * {"": 1, "m": 1e-3, "Mi": 2**20, "Gi": 2**30}[match[2]]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("file", files("base/*.yaml"))
def test_what_base_has_is_kubernetes_own_and_valid(file: str, version: str) -> None:
    for item in written(file):
        kubernetes_validate.validate(item, version, strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_an_overlay_builds_is_valid_and_complete(overlay: str) -> None:
    objects = built(KUBERNETES / "overlays" / overlay)
    for item in objects:
        if "." not in item["apiVersion"] or item["apiVersion"].split("/")[0].endswith("k8s.io"):
            kubernetes_validate.validate(item, VERSIONS[-1], strict=True)
        assert item["metadata"]["namespace"] == "streamapp"
        assert item["metadata"]["labels"]["app.kubernetes.io/part-of"] == "streamapp"
    kinds = {item["kind"]: item for item in objects}
    assert set(kinds) == {
        "ConfigMap", "Deployment", "NetworkPolicy", "PodDisruptionBudget", "PrometheusRule", "ScaledObject",
        "Service", "ServiceAccount", "ServiceMonitor", "TriggerAuthentication",
    }  # fmt: skip
    assert kinds["ConfigMap"]["data"] == variables(overlay)
    spec = kinds["Deployment"]["spec"]
    assert "replicas" not in spec, "KEDA says how many there are"
    for container in spec["template"]["spec"]["initContainers"] + spec["template"]["spec"]["containers"]:
        assert container["image"] == f"registry.example.com/streamapp:{__version__}-{target_of(overlay)}"
        assert container["envFrom"][0]["configMapRef"]["name"] == kinds["ConfigMap"]["metadata"]["name"]
    assert spec["template"]["spec"]["containers"][0]["resources"] == resources_of(overlay)


def test_models_in_the_image_need_neither_a_fetch_nor_a_volume(tmp_path: Path) -> None:
    shutil.copytree(KUBERNETES, tmp_path, dirs_exist_ok=True)
    overlay = tmp_path / "overlays/cpu/kustomization.yaml"
    listed = "components:\n"
    overlay.write_text(overlay.read_text().replace(listed, f"{listed}  - ../../components/models-in-image\n"))
    (deployment,) = (item for item in built(overlay.parent) if item["kind"] == "Deployment")

    found = deployment["spec"]["template"]["spec"]
    assert not found["initContainers"]
    assert "models" not in [volume["name"] for volume in found["volumes"]]
    assert [mount["mountPath"] for mount in found["containers"][0]["volumeMounts"]] == [
        "/tmp",
        "/etc/streamapp/kafka",
    ]


# Settings.


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_variable_is_a_setting_and_its_value_loads(overlay: str) -> None:
    names = variables(overlay)
    assert set(names) <= KNOWN_NAMES
    assert {part["name"] for part in worker()["env"]} == set(SECRETS)
    assert settings_of(overlay).security_protocol == "SASL_SSL"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_one_that_fetches_the_models_has_usable_settings_and_no_secret_of_kafka(overlay: str) -> None:
    (models,) = pod()["initContainers"]
    own = {part["name"]: part["value"] for part in models["env"]}
    assert load_settings(variables(overlay) | own).models == settings_of(overlay).models


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_secret_stands_in_a_file(overlay: str) -> None:
    for name in variables(overlay):
        assert not is_secret(name.removeprefix("STREAMAPP_").lower())
    for part in worker()["env"]:
        assert set(part["valueFrom"]) == {"secretKeyRef"}
    assert "kind: Secret\n" not in "".join(path.read_text() for path in KUBERNETES.rglob("*.yaml"))


# The pod's life.


def test_kubernetes_waits_longer_than_the_worker_takes_to_end() -> None:
    for overlay in OVERLAYS:
        assert pod()["terminationGracePeriodSeconds"] >= settings_of(overlay).drain_timeout_s + 10
    assert pod()["terminationGracePeriodSeconds"] >= Settings().drain_timeout_s + 10


class RecordingApp:
    """Remembers which pages it was given."""

    def __init__(self) -> None:
        self.paths: set[str] = set()

    def page(self, path: str) -> Any:
        self.paths.add(path)
        return lambda handler: handler


def test_probes_and_scraping_ask_for_pages_that_are_there_at_the_port_that_is_open() -> None:
    app = RecordingApp()
    add_pages(app)  # type: ignore[arg-type]
    (port,) = worker()["ports"]
    probes = [worker()[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")]
    (endpoint,) = only("components/monitoring/service-monitor.yaml")["spec"]["endpoints"]
    (service_port,) = only("base/service.yaml")["spec"]["ports"]
    (ingress,) = written("base/network-policy.yaml")[0]["spec"]["ingress"]

    assert [probe["path"] for probe in probes] == ["/live", "/live", "/ready"]
    assert {"/live", "/ready", endpoint["path"]} <= app.paths
    assert {probe["port"] for probe in probes} == {port["name"]}
    assert endpoint["port"] == service_port["name"] and service_port["targetPort"] == port["name"]
    for overlay in OVERLAYS:
        settings = settings_of(overlay)
        assert port["containerPort"] == service_port["port"] == settings.web_port
        assert ingress["ports"] == [{"protocol": "TCP", "port": settings.web_port}]
        assert settings.web_host == "0.0.0.0"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_worker_ends_itself_before_kubernetes_does(overlay: str) -> None:
    probe, settings = worker()["livenessProbe"], settings_of(overlay)
    patience_s = probe["periodSeconds"] * probe["failureThreshold"]
    assert patience_s > max(settings.loop_timeout_s, settings.model_timeout_s) + 10


# Resources.


def resources_of(overlay: str) -> Object:
    (container,) = patch_of(overlay)["containers"]
    assert container["name"] == worker()["name"]
    found: Object = container["resources"]
    return found


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_memory_limit_is_above_what_the_settings_allow(overlay: str) -> None:
    resources = resources_of(overlay)
    bound = IDLE_BYTES[overlay] + memory_bound_bytes(settings_of(overlay))
    assert 0.85 * quantity(resources["limits"]["memory"]) < bound < quantity(resources["limits"]["memory"])
    assert resources["requests"]["memory"] == resources["limits"]["memory"]
    assert "cpu" not in resources["limits"]


def test_a_gpu_worker_fits_on_its_node_and_takes_its_gpu() -> None:
    resources = resources_of("gpu-g4dn")
    assert quantity(resources["requests"]["cpu"]) <= G4DN_CPU
    assert quantity(resources["requests"]["memory"]) <= G4DN_BYTES
    assert resources["requests"]["nvidia.com/gpu"] == resources["limits"]["nvidia.com/gpu"] == 1
    spec = patch_of("gpu-g4dn")
    assert spec["nodeSelector"] == {"node.kubernetes.io/instance-type": "g4dn.xlarge"}
    settings = settings_of("gpu-g4dn")
    assert {settings.nudenet_device, settings.mfd_device, settings.clip_device} == {"cuda"}
    assert 0 < settings.clip_gpu_share * settings.clip_instances <= 0.7


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_volumes_have_room_for_what_a_pod_asks_for(overlay: str) -> None:
    sizes = [quantity(volume["emptyDir"]["sizeLimit"]) for volume in pod()["volumes"] if "emptyDir" in volume]
    assert sum(sizes) <= quantity(resources_of(overlay)["limits"]["ephemeral-storage"])


# The image.


def target_of(overlay: str) -> str:
    return {"cpu": "cpu", "gpu-g4dn": "cuda"}[overlay]


def test_the_image_has_the_targets_the_user_and_the_folders_that_the_pods_count_on() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text("utf-8")
    targets = set(re.findall(r"^FROM \S+ AS ([\w-]+)$", dockerfile, re.MULTILINE))
    assert {"cpu", "cuda", "with-models"} <= targets
    context = pod()["securityContext"]
    assert f"\nUSER {context['runAsUser']}:{context['runAsGroup']}\n" in dockerfile
    assert 'ENTRYPOINT ["tini", "--", "streamapp"]' in dockerfile
    for name in ("STREAMAPP_MODEL_CACHE", "STREAMAPP_WEB_PORT", "STREAMAPP_WEB_HOST"):
        assert f"{name}={variables('cpu')[name]}" in dockerfile
    mounts = {mount["mountPath"] for mount in worker()["volumeMounts"]}
    assert {variables("cpu")["STREAMAPP_MODEL_CACHE"], "/tmp"} <= mounts


@pytest.mark.parametrize("container", containers(), ids=lambda container: container["name"])
def test_a_container_runs_a_command_that_exists(container: Object) -> None:
    command: click.Command = group
    context = click.Context(group)
    for argument in container["args"]:
        assert isinstance(command, click.Group)
        found = command.get_command(context, argument)
        assert found is not None, argument
        command = found
    assert "command" not in container, "tini must stay PID 1"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_files_that_settings_name_are_mounted(overlay: str) -> None:
    settings = settings_of(overlay)
    volumes = {volume["name"] for volume in pod()["volumes"]}
    mounts = {mount["mountPath"]: mount["name"] for mount in worker()["volumeMounts"]}
    assert set(mounts.values()) == volumes
    assert settings.ssl_ca_file is not None
    assert mounts[str(settings.ssl_ca_file.parent)] == "kafka-ca"
    assert settings.ssl_ca_file.name == "ca.crt"


# The "restricted" pod security standard, and a root file system that is read-only.


@pytest.mark.parametrize("container", containers(), ids=lambda container: container["name"])
def test_a_container_has_no_more_rights_than_it_needs(container: Object) -> None:
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_a_pod_is_nobody_and_has_no_token() -> None:
    context = pod()["securityContext"]
    assert context["runAsNonRoot"] is True and context["runAsUser"] == 10001
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod()["automountServiceAccountToken"] is False
    account = only("base/service-account.yaml")
    assert account["automountServiceAccountToken"] is False
    assert pod()["serviceAccountName"] == account["metadata"]["name"]
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod())
    assert {kind for volume in pod()["volumes"] for kind in volume} <= {"name", "emptyDir", "secret"}


# Selectors.


def test_every_selector_finds_the_workers() -> None:
    deployment, service = only("base/deployment.yaml"), only("base/service.yaml")
    monitor = only("components/monitoring/service-monitor.yaml")["spec"]
    selectors = [
        deployment["spec"]["selector"]["matchLabels"],
        service["spec"]["selector"],
        only("base/disruption-budget.yaml")["spec"]["selector"]["matchLabels"],
        *(policy["spec"]["podSelector"]["matchLabels"] for policy in written("base/network-policy.yaml")),
        *(spread["labelSelector"]["matchLabels"] for spread in pod()["topologySpreadConstraints"]),
        monitor["selector"]["matchLabels"],
        service["metadata"]["labels"],
    ]
    assert all(selector == LABELS for selector in selectors)
