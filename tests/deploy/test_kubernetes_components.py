"""What KEDA and the Prometheus Operator are told agrees with the workers, the alerts and their references."""

import re
from typing import Any

import kubernetes_validate
import pytest
from deployment import PROMETHEUS_RULE, prometheus_rule
from kubernetes_objects import KUBERNETES, OVERLAYS, ROOT, files, only, settings_of

from streamapp.plan import Aims, Load, Worker, plan

VERSION = "1.37"
SCALED = only("components/autoscaling/scaled-object.yaml")["spec"]
TRIGGER = SCALED["triggers"][0]["metadata"]

# As KEDA 2.17's and the Prometheus Operator's references have them.
KEYS_OF_KINDS: dict[str, Any] = {
    "ScaledObject": {
        "scaleTargetRef": {"name"},
        "minReplicaCount": int,
        "maxReplicaCount": int,
        "pollingInterval": int,
        "fallback": {"failureThreshold", "replicas", "behavior"},
        "advanced": {"horizontalPodAutoscalerConfig"},
        "triggers": list,
    },
    "TriggerAuthentication": {"secretTargetRef": list},
    "ServiceMonitor": {"jobLabel": str, "selector": {"matchLabels"}, "endpoints": list},
    "PrometheusRule": {"groups": list},
}
TRIGGER_KEYS = {
    "bootstrapServers", "consumerGroup", "topic", "sasl", "tls", "lagThreshold", "offsetResetPolicy",
    "ensureEvenDistributionOfPartitions",
}  # fmt: skip
KEDAS_SASL = {"PLAIN": "plaintext", "SCRAM-SHA-256": "scram_sha256", "SCRAM-SHA-512": "scram_sha512"}


@pytest.mark.parametrize("file", files("components/*/*.yaml"))
def test_a_custom_resource_has_the_keys_of_its_kind(file: str) -> None:
    item = only(file)
    assert item["apiVersion"] == ("keda.sh/v1alpha1" if "autoscaling" in file else "monitoring.coreos.com/v1")
    known = KEYS_OF_KINDS[item["kind"]]
    for key, value in item["spec"].items():
        if isinstance(known[key], set):
            assert set(value) <= known[key]
        else:
            assert isinstance(value, known[key])


def test_the_scaling_behaviour_is_one_of_the_pod_autoscalers() -> None:
    autoscaler = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "of-keda"},
        "spec": {
            "scaleTargetRef": {"kind": "Deployment", "name": "streamapp-worker"},
            "maxReplicas": SCALED["maxReplicaCount"],
            "behavior": SCALED["advanced"]["horizontalPodAutoscalerConfig"]["behavior"],
        },
    }
    kubernetes_validate.validate(autoscaler, VERSION, strict=True)


def test_keda_asks_the_workers_broker_for_the_workers_lag() -> None:
    settings = settings_of("cpu")
    assert set(TRIGGER) == TRIGGER_KEYS
    assert all(isinstance(value, str) for value in TRIGGER.values()), "KEDA takes texts alone"
    assert TRIGGER["bootstrapServers"] == settings.brokers
    assert TRIGGER["consumerGroup"] == settings.group
    assert TRIGGER["topic"] == settings.events_topic
    assert TRIGGER["sasl"] == KEDAS_SASL[settings.sasl_mechanism]
    assert (TRIGGER["tls"] == "enable") == (settings.security_protocol != "PLAINTEXT")
    credentials = only("components/autoscaling/trigger-authentication.yaml")
    assert SCALED["triggers"][0]["authenticationRef"]["name"] == credentials["metadata"]["name"]
    assert {part["name"] for part in credentials["spec"]["secretTargetRef"]} == {
        "streamapp-kafka",
        "streamapp-kafka-ca",
    }
    assert SCALED["scaleTargetRef"]["name"] == only("base/deployment.yaml")["metadata"]["name"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_worker_that_there_may_be_has_a_partition(overlay: str) -> None:
    partitions = settings_of(overlay).topic_partitions
    assert partitions >= SCALED["maxReplicaCount"] > SCALED["minReplicaCount"] > 0
    assert partitions % SCALED["maxReplicaCount"] == 0


@pytest.mark.parametrize(
    ("file", "overlay"),
    [
        ("components/autoscaling/scaled-object.yaml", "cpu"),
        ("overlays/gpu-g4dn/kustomization.yaml", "gpu-g4dn"),
    ],
)
def test_the_lag_threshold_is_what_its_comment_and_the_plan_say(file: str, overlay: str) -> None:
    text = (KUBERNETES / file).read_text("utf-8")
    ((rate, seconds, result),) = re.findall(
        r"lagThreshold = ([\d.]+) events/s .* \N{MULTIPLICATION SIGN} (\d+) s = (\d+)", text
    )
    settings = settings_of(overlay)
    found = plan(Load(1.0), Worker(float(rate)), Aims(), settings)

    assert float(rate) * int(seconds) == int(result) == found.lag_threshold
    assert re.findall(r'(?:lagThreshold|value): "(\d+)"', text) == [result]


@pytest.mark.parametrize(("overlay", "rate"), [("cpu", 13.5), ("gpu-g4dn", 100.0)])
def test_no_setting_keeps_a_worker_from_the_rate_that_the_scaling_counts_on(
    overlay: str, rate: float
) -> None:
    assert plan(Load(1.0), Worker(rate), Aims(), settings_of(overlay)).shortcomings == ()


def test_the_workers_are_scraped_as_the_job_that_the_alerts_ask_for() -> None:
    service, monitor = only("base/service.yaml"), only("components/monitoring/service-monitor.yaml")["spec"]
    job = service["metadata"]["labels"][monitor["jobLabel"]]
    asked = set(re.findall(r'job="([^"]+)"', (ROOT / "deploy/prometheus/alerts.yml").read_text("utf-8")))
    assert asked == {job}


def test_the_operators_alerts_are_those_of_prometheus() -> None:
    assert PROMETHEUS_RULE.read_text("utf-8") == prometheus_rule(), "Run `make docs`."
