"""docs/platform-engineer.md agrees with alerts and manifests; tests/docs checks its commands and links."""

import re
import shutil
from pathlib import Path

import yaml
from deployment import PAGE, with_blocks
from kubernetes_objects import KUBERNETES, ROOT, built, only, patch_of, pod, settings_of

from streamapp.policy import DEFAULT_FILE

TEXT = PAGE.read_text("utf-8")
CONSOLE = "\n".join(re.findall(r"^```console\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL))


def anchor(heading: str) -> str:
    """As the code forges make them."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def test_the_generated_tables_are_those_of_the_code() -> None:
    assert with_blocks(TEXT) == TEXT, "Run `make docs`."


def test_every_alert_has_its_section_in_the_runbook_and_every_section_its_alert() -> None:
    groups = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text("utf-8"))["groups"]
    alerts = [rule["alert"] for one in groups for rule in one["rules"]]
    assert re.findall(r"^### (\w+)$", TEXT, re.MULTILINE) == alerts


def test_the_times_and_sizes_that_it_names_are_those_of_the_manifests() -> None:
    settings, worker = settings_of("cpu"), pod()["containers"][0]
    probe, resources = worker["livenessProbe"], patch_of("cpu")["containers"][0]["resources"]
    images = {
        image["name"]: f"{image['newName']}:{image['newTag']}"
        for image in only("overlays/cpu/kustomization.yaml")["images"]
    }

    assert f"`STREAMAPP_DRAIN_TIMEOUT_S` ({settings.drain_timeout_s:g} s)" in TEXT
    assert f"Kubernetes waits {pod()['terminationGracePeriodSeconds']} s" in TEXT
    assert f"only after {probe['periodSeconds'] * probe['failureThreshold']} s" in TEXT
    assert f"ends it after {settings.loop_timeout_s:g} s" in TEXT
    assert settings.loop_timeout_s == settings.model_timeout_s
    size = resources["limits"]["memory"].replace("Gi", " GiB")
    assert f"(`cpu`: {resources['requests']['cpu']} cores, {size};" in TEXT
    assert CONSOLE.count(images["streamapp"]) == 2


def test_every_section_is_in_the_reading_order() -> None:
    listed = re.findall(r"\]\(#([\w-]+)\)", TEXT.split("\n## ")[0])
    at_the_end, *sections = listed
    assert [*sections, at_the_end] == [anchor(one) for one in re.findall(r"^## (.+)$", TEXT, re.MULTILINE)]


def test_the_secrets_that_it_makes_are_those_that_the_pod_asks_for() -> None:
    made = dict(re.findall(r"create secret generic (\S+) (.+)$", CONSOLE, re.MULTILINE))
    asked: dict[str, set[str]] = {"streamapp-kafka-ca": {"ca.crt"}}
    for variable in pod()["containers"][0]["env"]:
        reference = variable["valueFrom"]["secretKeyRef"]
        asked.setdefault(reference["name"], set()).add(reference["key"])
    keys = {name: set(re.findall(r"--from-\w+=([^= ]+)", options)) for name, options in made.items()}
    assert keys == asked


def test_the_policy_of_the_page_reaches_the_worker(tmp_path: Path) -> None:
    (snippet,) = (
        yaml.safe_load(block) for block in re.findall(r"^```yaml\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    )
    shutil.copytree(KUBERNETES, tmp_path, dirs_exist_ok=True)
    overlay = tmp_path / "overlays/cpu"
    shutil.copy(DEFAULT_FILE, overlay / "policy.yaml")
    kustomization = yaml.safe_load((overlay / "kustomization.yaml").read_text())
    for key, entries in snippet.items():
        kustomization[key] += entries
    (overlay / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))

    objects = built(overlay)
    (policy,) = (item for item in objects if item["metadata"]["name"].startswith("streamapp-policy-"))
    (deployment,) = (item for item in objects if item["kind"] == "Deployment")
    found = deployment["spec"]["template"]["spec"]
    (variable,) = (one for one in found["containers"][0]["env"] if one["name"] == "STREAMAPP_POLICY_FILE")
    (mount,) = (one for one in found["containers"][0]["volumeMounts"] if one["name"] == "policy")
    (volume,) = (one for one in found["volumes"] if one["name"] == "policy")
    assert volume["configMap"]["name"] == policy["metadata"]["name"]
    assert variable["value"] == f"{mount['mountPath']}/{next(iter(policy['data']))}"
    assert {one["name"] for one in found["containers"][0]["env"]} > {"STREAMAPP_SASL_PASSWORD"}
