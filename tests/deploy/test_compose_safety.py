"""docker-compose.yml: what it opens, gives up, pins and keeps apart."""

import re

import compose_file
import yaml
from compose_file import ROOT, load
from dockerfile import parse

COMPOSE = load()
SERVICES = COMPOSE["services"]
DOCKERFILE = parse((ROOT / "Dockerfile").read_text("utf-8"))


def test_nothing_listens_beyond_loopback_and_no_port_is_taken_twice() -> None:
    taken: list[int] = []
    for name, service in SERVICES.items():
        for port in service.get("ports", []):
            found = re.fullmatch(r"127\.0\.0\.1:(\d+)(?:-(\d+))?:\d+", port)
            assert found, f"{name}: {port}"
            taken += range(int(found[1]), int(found[2] or found[1]) + 1)
    assert len(taken) == len(set(taken))


def test_no_secret_stands_in_the_file() -> None:
    secret = re.compile(r"PASSWORD|SECRET|TOKEN|CREDENTIAL|(?:^|_)KEY", re.I)
    for name, service in yaml.safe_load(compose_file.TEXT)["services"].items():
        for key, value in service.get("environment", {}).items():
            is_harmless = value in ("", "unused") or str(value).startswith("${")
            assert is_harmless or not secret.search(key), f"{name}: {key}"
    assert not re.search(r"://[^/\s:@]+:[^/\s@]+@", compose_file.TEXT)


def test_every_service_gives_up_what_it_does_not_need() -> None:
    # Why it is one stands beside it in the file.
    needs_more = {"redpanda"}
    for name, service in SERVICES.items():
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "privileged" not in service and "cap_add" not in service
        if name not in needs_more:
            assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"]), name
        assert service["deploy"]["resources"]["limits"]["memory"], name


def test_the_worker_shares_no_network_with_the_warehouse() -> None:
    for name in ("worker", "worker-gpu", "pictures"):
        assert not set(SERVICES[name]["networks"]) & set(SERVICES["postgres"]["networks"])
    assert {network for service in SERVICES.values() for network in service["networks"]} == set(
        COMPOSE["networks"]
    )


def test_up_with_wait_takes_the_end_of_a_one_shot_for_a_success() -> None:
    # As Compose does: a service that has ended is fine where another one waits for that, else an error.
    always = {name: service for name, service in SERVICES.items() if not service.get("profiles")}
    ends = {name for name, service in always.items() if "restart" not in service}
    waited_for = {
        other
        for service in always.values()
        for other, wait in service.get("depends_on", {}).items()
        if wait["condition"] == "service_completed_successfully"
    }

    assert ends == waited_for


def test_nothing_reports_to_its_maker() -> None:
    console = yaml.safe_load((ROOT / "deploy/compose/console.yml").read_text("utf-8"))
    grafana = SERVICES["grafana"]["environment"]

    assert "redpanda.enable_metrics_reporter=false" in SERVICES["redpanda"]["command"]
    assert console["analytics"] == {"enabled": False}
    assert {value for name, value in grafana.items() if name.startswith("GF_ANALYTICS_")} == {"false"}
    assert grafana["GF_PLUGINS_PREINSTALL_DISABLED"] == "true"


def test_images_are_pinned_and_each_of_ours_is_built_by_one_service() -> None:
    built = [service["image"] for service in SERVICES.values() if "build" in service]
    for name, service in SERVICES.items():
        if service["image"] in built:
            assert service["pull_policy"] == ("build" if "build" in service else "never"), name
        else:
            assert re.search(r":v?\d+\.\d+", service["image"]), f"{name}: {service['image']} has no version"
    assert sorted(built) == ["streamapp-connect", "streamapp:cpu", "streamapp:cuda"]
    for service in (SERVICES["worker"], SERVICES["worker-gpu"]):
        assert service["image"] == f"streamapp:{service['build']['target']}"
        assert DOCKERFILE.stage(service["build"]["target"])
