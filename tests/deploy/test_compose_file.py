"""docker-compose.yml: checked by all that can be without Docker, which is not here."""

import importlib.util
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import compose_file
import jsonschema
import pytest
import yaml
from compose_file import ROOT, load, mounts, on_host
from dockerfile import parse
from dotenv import dotenv_values

from streamapp.cli import group
from streamapp.settings import load_settings

COMPOSE = load()
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = parse((ROOT / "Dockerfile").read_text("utf-8"))
OURS = {name: service for name, service in SERVICES.items() if service["image"].startswith("streamapp:")}
# Those that start with the image's own entrypoint.
COMMANDS = {name: service for name, service in OURS.items() if "entrypoint" not in service}
ONE_SHOTS = {"topics", "models", "connectors", "connectors-snowflake", "demo"}
DEFAULT = {
    "redpanda",
    "console",
    "topics",
    "models",
    "worker",
    "pictures",
    "postgres",
    "connect",
    "connectors",
    "restart-failed",
}
PROFILES = {
    "gpu": {"worker-gpu"},
    "metrics": {"prometheus", "grafana"},
    "snowflake": {"connectors-snowflake"},
    "demo": {"demo"},
}
DEMO = (ROOT / "deploy/compose/demo.sh").read_text("utf-8")


def check_command(words: Sequence[str]) -> None:
    """Let click read a command of streamapp's, options and all, and run nothing."""
    command: click.Command = group
    context = click.Context(group)
    rest = list(words)
    while isinstance(command, click.Group):
        assert rest, f"{words} names no command"
        found = command.get_command(context, rest[0])
        assert found is not None, f"{words}: there is no {rest[0]}"
        command, rest = found, rest[1:]
    command.make_context(words[0], rest).close()


def health_command(service: Mapping[str, Any]) -> Any:
    """What asks a service for its health: its own, or that of the image it is built from."""
    check = service.get("healthcheck", {})
    if check.get("disable"):
        return None
    if "test" in check or "build" not in service:
        return check.get("test")
    context = ROOT / service["build"]["context"]
    dockerfile = parse((context / service["build"].get("dockerfile", "Dockerfile")).read_text("utf-8"))
    stage = service["build"].get("target") or dockerfile.stages[-1].name
    checks = [check for stage in dockerfile.lineage(stage) for check in stage.all("HEALTHCHECK")]
    return checks[-1].text if checks else None


def test_the_file_keeps_to_the_compose_specification() -> None:
    # Found and not imported: the package's own command line needs another click than Faust allows.
    spec = importlib.util.find_spec("check_jsonschema")
    assert spec is not None and spec.submodule_search_locations
    folder = Path(spec.submodule_search_locations[0])
    schema = json.loads((folder / "builtin_schemas/vendor/compose-spec.json").read_text("utf-8"))

    errors = list(jsonschema.Draft202012Validator(schema).iter_errors(yaml.safe_load(compose_file.TEXT)))

    assert [f"{error.json_path}: {error.message}" for error in errors] == []


def test_the_services_and_profiles_are_the_documented_ones() -> None:
    by_profile: dict[str, set[str]] = {}
    for name, service in SERVICES.items():
        for profile in service.get("profiles", [""]):
            by_profile.setdefault(profile, set()).add(name)

    assert by_profile == {"": DEFAULT} | PROFILES
    usage = compose_file.TEXT.split("\nname:")[0]
    assert set(re.findall(r"--profile (\w+)", usage)) == set(PROFILES) - {"demo"}


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("env_file", [None, "old-cpu.env", "old-gpu.env"])
def test_a_services_settings_load_also_beside_the_old_env_file(name: str, env_file: str | None) -> None:
    variables: dict[str, str] = {}
    if env_file is not None:
        found = dotenv_values(ROOT / "tests/data" / env_file, interpolate=False)
        variables = {key: value or "" for key, value in found.items()}
    service = load(variables)["services"][name]
    environment = {key: str(value) for key, value in service.get("environment", {}).items()}

    settings = load_settings((variables if service["env_file"] else {}) | environment)

    if environment:
        assert settings.results_topic == variables.get(
            "SnowflakeResultsQueue", "content_moderation_profile-results_dev"
        )
        assert settings.brokers == "redpanda:9092"
        assert settings.model_cache == Path("/models")


def test_connect_gets_every_name_that_its_files_ask_for_and_no_other() -> None:
    asked = {
        file.name: set(re.findall(r"\$\{env:(\w+)\}", file.read_text("utf-8")))
        for file in [ROOT / "connect/worker.properties", *sorted((ROOT / "connect").glob("*.json"))]
    }
    in_image = dockerfile_environment(ROOT / "connect/Dockerfile")
    given = set(SERVICES["connect"]["environment"])

    assert set.union(*asked.values()) <= given | set(in_image)
    assert given <= set.union(*asked.values()) | {name for name in in_image if name.startswith("CONNECT_")}


def dockerfile_environment(file: Path) -> dict[str, str]:
    dockerfile = parse(file.read_text("utf-8"))
    return dockerfile.environment(dockerfile.stages[-1].name)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_services_command_is_one_that_streamapp_has(name: str) -> None:
    service = COMMANDS[name]
    check_command([on_host(service, word) for word in service.get("command", ["worker"])])


def test_the_commands_of_the_demo_are_ones_that_streamapp_has() -> None:
    script = re.sub(r"(?m)^\s*#.*$", "", DEMO.replace("\\\n", " "))
    commands = [
        shlex.split(text) for text in re.findall(r"^streamapp ((?:\"[^\"]*\"|[^\n\"])+)", script, re.M)
    ]

    assert [words[0] for words in commands] == ["send", "warehouse", "warehouse"]
    for words in commands:
        check_command(words)


def test_the_demo_runs_the_script_that_is_mounted() -> None:
    service = SERVICES["demo"]

    assert service["entrypoint"][:-1] == ["tini", "--", "sh"]
    assert Path(on_host(service, service["entrypoint"][-1])) == ROOT / "deploy/compose/demo.sh"


def test_the_demo_asks_for_pictures_that_are_served() -> None:
    service = SERVICES["pictures"]
    folder = Path(on_host(service, service["command"][-1]))
    host, port = re.findall(r"http://([\w-]+):(\d+)", DEMO)[0]
    asked = set(re.findall(r"\$pictures/([\w.-]+)", DEMO))

    assert (host, port) == ("pictures", service["command"][0])
    assert asked - {"not-there.jpg"} == {file.name for file in folder.iterdir()}
    assert f":{port}/" in " ".join(service["healthcheck"]["test"])
    assert SERVICES["worker"]["environment"]["STREAMAPP_ALLOW_PRIVATE_HOSTS"] == host


def test_every_mounted_path_is_in_the_checkout_and_every_volume_declared() -> None:
    made_by_compose = {"./secrets/snowflake"}
    for name, service in SERVICES.items():
        for target, source in mounts(service).items():
            assert target.startswith("/"), f"{name}: {target}"
            if source.startswith("./"):
                assert source in made_by_compose or (ROOT / source).exists(), f"{name}: {source}"
            else:
                assert source in COMPOSE["volumes"], f"{name}: {source}"
    used = {source for service in SERVICES.values() for source in mounts(service).values()}
    assert set(COMPOSE["volumes"]) <= used


def test_the_models_volume_belongs_to_the_images_user() -> None:
    image = DOCKERFILE.environment("cpu")
    made = " ".join(run.text for run in DOCKERFILE.stage("runtime").all("RUN"))
    (user,) = DOCKERFILE.stage("runtime").all("USER")

    for name in ("models", "worker", "worker-gpu"):
        assert mounts(SERVICES[name]) == {image["STREAMAPP_MODEL_CACHE"]: "models"}
        assert SERVICES[name]["environment"]["STREAMAPP_MODEL_CACHE"] == image["STREAMAPP_MODEL_CACHE"]
    uid, gid = user.text.split(":")
    assert f"install --directory --owner {uid} --group {gid} {image['STREAMAPP_MODEL_CACHE']}" in made
    assert "user" not in SERVICES["worker"]


def test_whoever_waits_for_health_waits_for_a_service_that_says_it() -> None:
    for name, service in SERVICES.items():
        for other, wait in service.get("depends_on", {}).items():
            assert other in SERVICES, f"{name} waits for {other}"
            if wait["condition"] == "service_healthy":
                assert health_command(SERVICES[other]), f"{name} waits for {other}, which tells no health"
            else:
                assert wait["condition"] == "service_completed_successfully"
                assert other in ONE_SHOTS, f"{name} waits for the end of {other}"
            assert not SERVICES[other].get("profiles") or SERVICES[other]["profiles"] == service["profiles"]


def test_what_serves_is_started_again_and_what_ends_is_not() -> None:
    assert {name for name, service in SERVICES.items() if "restart" not in service} == ONE_SHOTS
    # The image's own check asks for a worker's page.
    assert all(SERVICES[name]["healthcheck"] == {"disable": True} for name in ONE_SHOTS)


def test_the_worker_page_is_published_scraped_and_exposed_on_one_port() -> None:
    port = str(SERVICES["worker"]["environment"]["STREAMAPP_WEB_PORT"])
    scraping = yaml.safe_load((ROOT / "deploy/prometheus/compose.yml").read_text("utf-8"))
    (job,) = scraping["scrape_configs"]
    (discovery,) = job["dns_sd_configs"]
    production = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text("utf-8"))

    assert [SERVICES[name]["ports"][0].split(":")[-1] for name in ("worker", "worker-gpu")] == [port, port]
    assert [expose.text for expose in DOCKERFILE.stage("runtime").all("EXPOSE")] == [port]
    assert DOCKERFILE.environment("cpu")["STREAMAPP_WEB_PORT"] == port
    assert (discovery["names"], discovery["port"]) == (["worker", "worker-gpu"], int(port))
    assert job["job_name"] == production["scrape_configs"][0]["job_name"]
    assert scraping["rule_files"] == production["rule_files"]
    assert all({"metrics"} <= set(SERVICES[name]["networks"]) for name in [*discovery["names"], "prometheus"])


def test_prometheus_reads_the_file_that_is_mounted() -> None:
    service = SERVICES["prometheus"]
    (file,) = (word.split("=")[1] for word in service["command"] if word.startswith("--config.file="))
    (data,) = (word.split("=")[1] for word in service["command"] if word.startswith("--storage.tsdb.path="))

    assert Path(on_host(service, file)) == ROOT / "deploy/prometheus/compose.yml"
    assert mounts(service)[data] == "prometheus"


def test_grafana_finds_the_dashboard_and_its_datasource() -> None:
    service = SERVICES["grafana"]
    folder = Path(on_host(service, "/etc/grafana/provisioning"))
    (source,) = yaml.safe_load((folder / "datasources/prometheus.yml").read_text("utf-8"))["datasources"]
    (provider,) = yaml.safe_load((folder / "dashboards/streamapp.yml").read_text("utf-8"))["providers"]
    dashboard = f"{provider['options']['path']}/streamapp.json"

    assert Path(on_host(service, dashboard)) == ROOT / "deploy/grafana/streamapp.json"
    assert service["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"] == dashboard
    assert (source["type"], source["url"]) == ("prometheus", "http://prometheus:9090")
    assert set(service["networks"]) & set(SERVICES["prometheus"]["networks"])


def test_console_and_commands_name_services_and_the_ports_that_these_listen_on() -> None:
    console = yaml.safe_load((ROOT / "deploy/compose/console.yml").read_text("utf-8"))
    (connect,) = (cluster["url"] for cluster in console["kafkaConnect"]["clusters"])
    listeners = SERVICES["redpanda"]["command"][SERVICES["redpanda"]["command"].index("--kafka-addr") + 1]
    rest = dockerfile_environment(ROOT / "connect/Dockerfile")["CONNECT_LISTENER"]
    settings = SERVICES["connectors"]["environment"]

    assert console["kafka"]["brokers"] == [settings["STREAMAPP_BROKERS"]]
    assert SERVICES["connect"]["environment"]["CONNECT_BOOTSTRAP_SERVERS"] == settings["STREAMAPP_BROKERS"]
    assert "internal://0.0.0.0:9092" in listeners.split(",")
    assert connect == settings["STREAMAPP_CONNECT_URL"] == "http://connect:8083"
    assert rest == "http://0.0.0.0:8083"
    assert SERVICES["console"]["environment"]["CONFIG_FILEPATH"] in mounts(SERVICES["console"])


def test_postgres_connect_and_the_demo_speak_of_one_database() -> None:
    postgres = SERVICES["postgres"]["environment"]
    database = f"{postgres['POSTGRES_DB']}"
    connect = SERVICES["connect"]["environment"]

    assert connect["WAREHOUSE_JDBC_URL"] == f"jdbc:postgresql://postgres:5432/{database}"
    assert connect["WAREHOUSE_USER"] == postgres["POSTGRES_USER"]
    assert SERVICES["demo"]["environment"]["STREAMAPP_WAREHOUSE_URL"] == (
        f"postgresql://{postgres['POSTGRES_USER']}@postgres:5432/{database}"
    )
    scripts = sorted(
        path.name for path in Path(on_host(SERVICES["postgres"], "/docker-entrypoint-initdb.d")).iterdir()
    )
    assert scripts == ["1-landing.sql", "2-views.sql"]


def test_compose_waits_longer_than_a_worker_drains() -> None:
    assert (
        int(SERVICES["worker"]["stop_grace_period"].removesuffix("s"))
        > load_settings({}).drain_timeout_s + 10
    )


def test_the_gpu_worker_has_a_device_and_takes_no_other() -> None:
    (device,) = SERVICES["worker-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    settings = load_settings(
        {key: str(value) for key, value in SERVICES["worker-gpu"]["environment"].items()}
    )

    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])
    assert (settings.nudenet_device, settings.mfd_device, settings.clip_device) == ("cuda",) * 3
