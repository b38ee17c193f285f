"""docker-compose.yml's variables: from the shell, from .env, by default."""

import re

import compose_file
import pytest
from compose_file import ROOT, MissingVariableError, interpolate, load
from kubernetes_objects import GPU_IDLE_BYTES

from streamapp.plan import Worker, memory_bound_bytes
from streamapp.settings import Settings, load_settings
from streamapp.settings.lookup import bad_names
from streamapp.settings.variables import ENVIRONMENT, Place

# What a broker in production, and its replicas, ask for.
PRODUCTION = {
    "STREAMAPP_BROKERS": "kafka.example.com:9093",
    "STREAMAPP_SECURITY_PROTOCOL": "SASL_SSL",
    "STREAMAPP_SASL_USERNAME": "moderation",
    "STREAMAPP_SASL_PASSWORD": "password",
    "STREAMAPP_SSL_CA_FILE": "/etc/kafka/ca.crt",
    "STREAMAPP_TOPIC_REPLICATION_FACTOR": "3",
    "STREAMAPP_PICTURES_IN_FLIGHT": "512",
    "DownloadMaxCon": "400",
    "DownloadNumReplicas": "16",
    "DownloadNumCPUPerReplica": "1",
}
IDLE_BYTES = {"worker": Worker(1.0).idle_bytes, "worker-gpu": GPU_IDLE_BYTES}


def settings_of(name: str, env_file: dict[str, str]) -> Settings:
    service = load(env_file)["services"][name]
    return load_settings(env_file | {key: str(value) for key, value in service["environment"].items()})


@pytest.mark.parametrize("name", ["topics", "worker", "connectors", "demo"])
def test_an_env_file_of_production_asks_for_no_login_and_no_replicas_here(name: str) -> None:
    settings = settings_of(name, PRODUCTION)

    assert (settings.brokers, settings.security_protocol) == ("redpanda:9092", "PLAINTEXT")
    assert settings.topic_replication_factor == 1


@pytest.mark.parametrize("name", IDLE_BYTES)
@pytest.mark.parametrize("env_file", [{}, PRODUCTION], ids=["none", "production"])
def test_a_workers_memory_limit_is_above_what_its_settings_allow(name: str, env_file: dict[str, str]) -> None:
    limits = load()["services"][name]["deploy"]["resources"]["limits"]
    limit = int(limits["memory"].removesuffix("g")) * 2**30

    bound = IDLE_BYTES[name] + memory_bound_bytes(settings_of(name, env_file))

    assert 0.85 * limit < bound < limit


def test_what_compose_reads_from_env_stops_no_worker_that_gets_the_same_env() -> None:
    names = set(re.findall(r"\$\{(STREAMAPP_\w+)", compose_file.TEXT))

    assert names
    assert list(bad_names(Place(ENVIRONMENT, dict.fromkeys(names, "")))) == []


def test_no_page_sets_a_variable_for_one_compose_command_alone() -> None:
    # The next command is without it, and `run` makes anew what then differs: images, workers, models.
    pages = [
        ROOT / "docker-compose.yml",
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("connect/*.md"),
    ]
    alone = re.compile(r"\b\w+=\S*\s+docker\s+compose\b")

    assert [found for page in pages for found in alone.findall(page.read_text("utf-8"))] == []


def test_worker_and_connect_agree_on_the_results_topic_wherever_its_name_comes_from() -> None:
    for variables in ({}, {"SnowflakeResultsQueue": "old"}, {"STREAMAPP_RESULTS_TOPIC": "new"}):
        services = load(variables)["services"]
        topics = {
            service["environment"]["STREAMAPP_RESULTS_TOPIC"]
            for service in services.values()
            if "STREAMAPP_RESULTS_TOPIC" in service.get("environment", {})
        }
        assert len(topics) == 1
        assert "STREAMAPP_RESULTS_TOPIC" in services["connect"]["environment"]


@pytest.mark.parametrize(
    ("text", "variables", "filled"),
    [
        ("a ${X:-b} c", {}, "a b c"),
        ("${X:-b}", {"X": ""}, "b"),
        ("${X-b}", {"X": ""}, ""),
        ("${X:-${Y:-z}}/w", {}, "z/w"),
        ("${X:-${Y:-z}}/w", {"Y": "y"}, "y/w"),
        ("${X:+yes}${X+set}", {"X": ""}, "set"),
        ("$$X $X", {"X": "1"}, "$X 1"),
    ],
)
def test_variables_are_put_in_as_compose_does(text: str, variables: dict[str, str], filled: str) -> None:
    assert interpolate(text, variables) == filled


def test_a_variable_that_must_be_set_is_missed() -> None:
    with pytest.raises(MissingVariableError, match="X: say which"):
        interpolate("${X:?say which}", {"X": ""})
