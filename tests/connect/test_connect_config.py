"""The connectors' files and the worker's properties, without Java: what each has to hold."""

import re
from pathlib import Path

import pytest
from connect_worker import CONNECT

from streamapp.connect.files import read_connector_file
from streamapp.settings import load_settings

# As version 4.1.0 lists them, with Connect's own for every sink.
V4_KEYS = frozenset(Path(__file__).with_name("snowflake_v4_keys.txt").read_text().split())
# Honoured by it, and not listed.
V4_UNLISTED = {"snowflake.jdbc.map", "value.converter.schemas.enable"}

# Of Kafka's consumer, where a connector does not set it.
MAX_POLL_INTERVAL_S = 300
# The sink's pool of connections asks 30 times, a second apart, before a try has failed.
POOL_TRIES_S = 30

TABLE = "DS_CONTENT_MODERATION_TAGGING_1ST_LAYER"
REFERENCE = re.compile(r"\$\{(env|dir):([^}]+)\}")

ERRORS = {
    "errors.tolerance": "all",
    "errors.log.enable": "true",
    "errors.log.include.messages": "false",
    "errors.retry.timeout": "60000",
    "errors.retry.delay.max.ms": "5000",
    "errors.deadletterqueue.topic.replication.factor": "${env:CONNECT_REPLICATION_FACTOR}",
    "errors.deadletterqueue.context.headers.enable": "true",
}
SNOWFLAKE = ERRORS | {
    "topics": "${env:STREAMAPP_RESULTS_TOPIC}",
    "snowflake.url.name": "${env:SNOWFLAKE_URL}",
    "snowflake.user.name": "${env:SNOWFLAKE_USER}",
    "snowflake.private.key": "${dir:/run/secrets/snowflake:snowflake_key.p8}",
    "snowflake.role.name": "${env:SNOWFLAKE_ROLE}",
    "snowflake.database.name": "${env:SNOWFLAKE_DATABASE}",
    "snowflake.schema.name": "${env:SNOWFLAKE_SCHEMA}",
    "snowflake.jdbc.map": "loginTimeout:20",
    "snowflake.topic2table.map": f"${{env:STREAMAPP_RESULTS_TOPIC}}:{TABLE}",
    "snowflake.enable.schematization": "true",
    "snowflake.metadata.all": "true",
    "key.converter": "org.apache.kafka.connect.storage.StringConverter",
    "value.converter": "org.apache.kafka.connect.json.JsonConverter",
    "value.converter.schemas.enable": "false",
    "enable.task.fail.on.authorization.errors": "true",
    "errors.deadletterqueue.topic.name": "${env:STREAMAPP_RESULTS_TOPIC}.snowflake-errors",
    "jmx": "true",
    "tasks.max": "4",
}
# Every property of every file, so that none goes missing, is misspelt or comes in by itself.
EXPECTED = {
    "snowflake.json": SNOWFLAKE
    | {
        "connector.class": "com.snowflake.kafka.connector.SnowflakeStreamingSinkConnector",
        # A missing table is an error, not a table of the connector's own making.
        "snowflake.autocreate.table.type": "none",
        # Bad rows go to the dead-letter topic; the default loses them where a table logs no errors.
        "snowflake.validation": "client_side",
        # On by default, and then a fresh start is refused.
        "snowflake.streaming.validate.compatibility.with.classic": "false",
        "behavior.on.null.values": "ignore",
    },
    "snowflake-v2.json": SNOWFLAKE
    | {
        "connector.class": "com.snowflake.kafka.connector.SnowflakeSinkConnector",
        "snowflake.ingestion.method": "SNOWPIPE_STREAMING",
        "snowflake.streaming.max.client.lag": "5",
        "buffer.flush.time": "10",
        "buffer.count.records": "10000",
        "buffer.size.bytes": "20000000",
        "behavior.on.null.values": "IGNORE",
    },
}


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_snowflake_file_holds_what_it_must_and_nothing_else(name: str) -> None:
    assert read_connector_file(CONNECT / name).config == EXPECTED[name]


def test_version_4_knows_every_property_of_its_file() -> None:
    assert len(V4_KEYS) == 69
    assert set(read_connector_file(CONNECT / "snowflake.json").config) <= V4_KEYS | V4_UNLISTED


def test_version_4_has_nothing_of_the_versions_before() -> None:
    # These have no effect any more, and neither Connect nor the connector says so.
    assert not {"snowflake.ingestion.method", "buffer.flush.time", "buffer.count.records"} & V4_KEYS


def test_postgres_json_holds_the_dead_letters_and_retries_as_the_others_do() -> None:
    config = read_connector_file(CONNECT / "postgres.json").config
    assert config.items() >= ERRORS.items()
    assert config["topics"] == "${env:STREAMAPP_RESULTS_TOPIC}"
    assert config["errors.deadletterqueue.topic.name"] == "${env:STREAMAPP_RESULTS_TOPIC}.postgres-errors"
    assert config["connection.password"] == "${env:WAREHOUSE_PASSWORD}"


def test_the_postgres_sink_gives_up_before_kafka_takes_its_partitions_away() -> None:
    # A statement that failed keeps its connection: tried for long, it would run and never load (3.5.0).
    config = read_connector_file(CONNECT / "postgres.json").config
    try_s = int(config["flush.retry.delay.ms"]) / 1000 + POOL_TRIES_S
    assert "consumer.override.max.poll.interval.ms" not in config
    assert 0 < int(config["flush.max.retries"]) * try_s < MAX_POLL_INTERVAL_S


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("postgres.json", "streamapp-postgres"),
        ("snowflake.json", "streamapp-snowflake"),
        # The same connector: moving from version 2 must not load everything again.
        ("snowflake-v2.json", "streamapp-snowflake"),
    ],
)
def test_a_connectors_name_is_its_files(file: str, name: str) -> None:
    assert read_connector_file(CONNECT / file).name == name


@pytest.mark.parametrize("path", sorted(CONNECT.glob("*.json")), ids=lambda path: path.name)
def test_a_file_names_its_secrets_and_the_worker_lets_it_have_them(path: Path) -> None:
    properties = worker_properties()
    allowed = re.compile(properties["config.providers.env.param.allowlist.pattern"])
    folder = properties["config.providers.dir.param.allowed.paths"]
    config = read_connector_file(path).config
    for provider, named in REFERENCE.findall(" ".join(config.values())):
        assert allowed.fullmatch(named) if provider == "env" else named.startswith(f"{folder}:"), named
    for key in config:
        if key.endswith((".password", ".key", ".username", ".user.name")):
            assert REFERENCE.fullmatch(config[key]), key


def test_the_pattern_of_the_table_map_is_the_topic_itself() -> None:
    # The map's topic is a regular expression: every character of our topics must stand for itself in it.
    topic = load_settings({}).results_topic
    assert re.fullmatch(topic, topic)
    # Of the characters that Kafka allows, only the dot means something: it matches itself, too.
    assert re.fullmatch(r"[A-Za-z0-9._-]+", topic)


def test_the_four_clients_of_the_worker_reach_the_broker_alike() -> None:
    properties = worker_properties()
    for key in ("security.protocol", "sasl.mechanism", "sasl.jaas.config"):
        values = {properties[f"{client}{key}"] for client in ("", "consumer.", "producer.", "admin.")}
        assert len(values) == 1, key


def test_a_connector_may_not_change_how_the_broker_is_reached() -> None:
    properties = worker_properties()
    assert properties["connector.client.config.override.policy"] == "Allowlist"
    allowed = properties["connector.client.config.override.allowlist"].split(",")
    assert not [key for key in allowed if key.startswith(("sasl.", "ssl.", "security.", "bootstrap."))]
    for path in CONNECT.glob("*.json"):
        overrides = [key for key in read_connector_file(path).config if ".override." in key]
        assert {key.partition(".override.")[2] for key in overrides} <= set(allowed)


def test_every_variable_has_a_default_in_the_image_but_addresses_and_secrets() -> None:
    files = [CONNECT / "worker.properties", *CONNECT.glob("*.json")]
    named = {name for path in files for name in re.findall(r"\$\{env:(\w+)\}", path.read_text())}
    needed = {"CONNECT_BOOTSTRAP_SERVERS", "WAREHOUSE_PASSWORD", "SNOWFLAKE_URL", "SNOWFLAKE_USER"}
    assert set(image_defaults()) == named - needed


def test_the_images_defaults_are_those_of_the_settings_and_the_files() -> None:
    defaults = image_defaults()
    settings = load_settings({})
    assert defaults["STREAMAPP_RESULTS_TOPIC"] == settings.results_topic
    assert defaults["CONNECT_LISTENER"].rpartition(":")[2] == settings.connect_url.rpartition(":")[2]
    image = (CONNECT / "Dockerfile").read_text()
    assert f"mkdir -p {worker_properties()['config.providers.dir.param.allowed.paths']}" in image
    # Where the worker looks for plugins, relative to its folder, is where the jars are put.
    assert worker_properties()["plugin.path"] == "plugins"


def image_defaults() -> dict[str, str]:
    """What the image's ENV sets."""
    image = (CONNECT / "Dockerfile").read_text()
    block = image[image.index("\nENV ") + 5 : image.index("\nEXPOSE")]
    lines = [line.strip().removesuffix("\\").strip() for line in block.splitlines()]
    pairs = [line.partition("=") for line in lines if not line.startswith("#")]
    return {name: value for name, _, value in pairs}


def worker_properties() -> dict[str, str]:
    lines = (CONNECT / "worker.properties").read_text().splitlines()
    pairs = [line.partition("=") for line in lines if line and not line.startswith("#")]
    assert len({key for key, _, _ in pairs}) == len(pairs)
    return {key: value for key, _, value in pairs}
