"""`streamapp connect` and the connectors' files on Apache Kafka's own Connect."""

import asyncio
import json
import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from click.testing import CliRunner
from connect_worker import CONNECT, ConnectWorker

from streamapp.cli import connect as connect_command
from streamapp.cli import group
from streamapp.connect.checks import Problem, find_problems, with_broken_key
from streamapp.connect.client import ConnectClient
from streamapp.connect.files import read_connector_file
from streamapp.errors import ConnectError
from streamapp.local.kafka.broker import KafkaBroker
from streamapp.settings import load_settings
from streamapp.topics import ensure_topics

TIMEOUT_S = 120
SECRETS = "/run/secrets/snowflake"
SNOWFLAKE = "com.snowflake.kafka.connector.SnowflakeSinkConnector"
# Makes the refused login quick; the default goes on for over a minute.
ONE_TRY = {"snowflake.jdbc.map": "loginTimeout:3,maxHttpRetries:1"}
CONNECTION_FIELDS = ["snowflake.private.key", "snowflake.url.name", "snowflake.user.name"]


def streamapp_connect(worker: ConnectWorker, *arguments: str) -> tuple[int, str]:
    """The exit code and what was said, its line breaks as spaces. In this process: a start takes a second."""
    result = CliRunner().invoke(group, ["connect", *arguments, "--url", worker.url])
    said = (
        f"{result.output} {result.exception}" if isinstance(result.exception, ConnectError) else result.output
    )
    return result.exit_code, " ".join(said.split())


def snowflake_config(worker: ConnectWorker) -> dict[str, str]:
    """snowflake-v2.json with the test's folder of secrets, and one try of a login."""
    config = read_connector_file(CONNECT / "snowflake-v2.json").config
    text = json.dumps(config)
    assert text.count(SECRETS) == 1
    return json.loads(text.replace(SECRETS, str(worker.secrets))) | ONE_TRY


def file_sink(worker: ConnectWorker, **changes: str) -> Path:
    """A connector's file of the sink into a file, with a name of its own."""
    config = {
        "connector.class": "org.apache.kafka.connect.file.FileStreamSinkConnector",
        "topics": "${env:STREAMAPP_RESULTS_TOPIC}",
        "file": str(worker.folder / "sink.txt"),
        "value.converter": "org.apache.kafka.connect.storage.StringConverter",
    }
    path = worker.folder / f"sink-{uuid.uuid4().hex[:8]}.json"
    path.write_text(json.dumps(config | changes))
    return path


@pytest.fixture(autouse=True)
def short_settling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect_command, "_SETTLE_S", 0.5)


async def config_of(worker: ConnectWorker, name: str) -> dict[str, str] | None:
    async with ConnectClient(worker.url) as connect:
        return await connect.config(name)


async def problems_of(worker: ConnectWorker, config: dict[str, str]) -> list[Problem]:
    async with ConnectClient(worker.url) as connect:
        fields = await connect.validate(config["connector.class"], {**config, "name": "streamapp-test"})
    return find_problems(config["connector.class"], config, fields)


async def test_the_connectors_are_found_by_their_manifests(connect_worker: ConnectWorker) -> None:
    async with ConnectClient(connect_worker.url) as connect:
        assert {SNOWFLAKE, "io.debezium.connector.jdbc.JdbcSinkConnector"} <= set(await connect.classes())


async def test_snowflake_v2_has_nothing_wrong_but_that_snowflake_is_not_there(
    connect_worker: ConnectWorker,
) -> None:
    problems = await problems_of(connect_worker, snowflake_config(connect_worker))
    assert [problem.key for problem in problems] == CONNECTION_FIELDS
    assert {problem.message for problem in problems} == {"Cannot connect to Snowflake"}


async def test_the_key_comes_whole_through_its_provider(connect_worker: ConnectWorker) -> None:
    # A key that is none is told from one that is not taken: the provider gave its lines to the connector.
    (connect_worker.secrets / "no_key.p8").write_text("no key\n")
    config = snowflake_config(connect_worker)
    config["snowflake.private.key"] = config["snowflake.private.key"].replace("snowflake_key", "no_key")
    problems = await problems_of(connect_worker, config)
    assert [problem.key for problem in problems] == ["snowflake.private.key"]
    assert "PEM" in problems[0].message or "private key" in problems[0].message


async def test_what_is_missing_misspelt_or_not_allowed_is_told(connect_worker: ConnectWorker) -> None:
    config = snowflake_config(connect_worker)
    del config["snowflake.schema.name"]
    config["bufer.flush.time"] = config.pop("buffer.flush.time")
    config["consumer.override.sasl.jaas.config"] = "x"
    told = {problem.key: problem.message for problem in await problems_of(connect_worker, config)}
    assert set(told) == {"bufer.flush.time", "consumer.override.sasl.jaas.config", "snowflake.schema.name"}
    assert "did you mean buffer.flush.time?" in told["bufer.flush.time"]
    assert "does not allow" in told["consumer.override.sasl.jaas.config"]


@pytest.mark.parametrize("name", ["STREAMAPP_NOT_THERE", "OTHERS_SECRET"])
async def test_a_variable_that_the_worker_has_not_or_does_not_let_out_is_told(
    connect_worker: ConnectWorker, name: str
) -> None:
    config = read_connector_file(file_sink(connect_worker, file=f"${{env:{name}}}")).config
    problems = await problems_of(connect_worker, config)
    assert problems == [
        Problem("file", f"the Connect worker has no {name} in its environment, or may not read it")
    ]


async def test_a_secret_in_the_wrong_place_is_not_told(connect_worker: ConnectWorker) -> None:
    # Connect's own findings have the value that the worker put in.
    secret = "${env:WAREHOUSE_PASSWORD}"
    wrong = {"tasks.max": secret, "errors.tolerance": secret, "value.converter": secret}
    config = read_connector_file(file_sink(connect_worker, **wrong)).config
    problems = await problems_of(connect_worker, config)
    assert {problem.key for problem in problems} == wrong.keys()
    assert "kept-by-the-worker" not in str(problems)


async def test_postgres_json_has_nothing_wrong_and_its_variables_are_taken_from_the_environment(
    connect_worker: ConnectWorker,
) -> None:
    file = read_connector_file(CONNECT / "postgres.json")
    assert await problems_of(connect_worker, file.config) == []
    async with ConnectClient(connect_worker.url) as connect:
        fields = await connect.validate(file.connector_class, {**file.config, "name": file.name})
    values = {field["value"]["name"]: field["value"]["value"] for field in fields}
    assert values["topics"] == "content_moderation_profile-results_dev"
    assert values["errors.deadletterqueue.topic.name"] == f"{values['topics']}.postgres-errors"
    assert values["errors.deadletterqueue.topic.replication.factor"] == "1"
    assert values["connection.username"] == "streamapp"


def test_a_connector_is_created_left_alone_changed_and_deleted(connect_worker: ConnectWorker) -> None:
    path = file_sink(connect_worker, **{"tasks.max": "1"})
    name = f"streamapp-{path.stem}"

    code, said = streamapp_connect(connect_worker, "apply", str(path), "--dry-run")
    assert (code, f"{name}: would be created" in said) == (0, True), said
    code, said = streamapp_connect(connect_worker, "apply", str(path))
    assert (code, f"{name}: created" in said, "RUNNING with 1 task" in said) == (0, True, True), said
    code, said = streamapp_connect(connect_worker, "apply", str(path))
    assert (code, f"{name}: unchanged" in said) == (0, True), said

    # What Connect keeps and gives back is the reference, never the value.
    config = asyncio.run(config_of(connect_worker, name))
    assert config is not None
    assert config["topics"] == "${env:STREAMAPP_RESULTS_TOPIC}"

    path.write_text(json.dumps(json.loads(path.read_text()) | {"tasks.max": "2"}))
    code, said = streamapp_connect(connect_worker, "apply", str(path))
    assert (code, "~ tasks.max = 1 → 2" in said, "RUNNING with 2 tasks" in said) == (0, True, True), said
    code, said = streamapp_connect(connect_worker, "status", name)
    assert (code, said.count("RUNNING")) == (0, 3), said

    code, said = streamapp_connect(connect_worker, "delete", name, "--yes")
    assert (code, f"consumer group connect-{name}" in said) == (0, True), said
    code, said = streamapp_connect(connect_worker, "status", name)
    assert (code, f"has no connector {name}" in said) == (1, True), said


async def test_a_record_that_is_not_json_goes_to_the_dead_letters_with_why_and_whence(
    connect_worker: ConnectWorker, connect_broker: KafkaBroker
) -> None:
    # All clients of the worker log in: its own, the sink's consumer, the dead letters' producer and admin.
    settings = load_settings({}, brokers=connect_broker.bootstrap_servers)
    await ensure_topics(settings)
    topic = f"{settings.results_topic}.snowflake-errors"
    written = connect_worker.folder / f"{uuid.uuid4().hex}.txt"
    reading = read_connector_file(CONNECT / "snowflake.json").config
    reading = {key: value for key, value in reading.items() if key.startswith(("value.", "errors."))}
    path = file_sink(connect_worker, **reading, file=str(written))
    async with AIOKafkaProducer(bootstrap_servers=connect_broker.bootstrap_servers) as producer:
        bad = await producer.send_and_wait(settings.results_topic, b"no JSON", key=b"7", partition=3)
        await producer.send_and_wait(settings.results_topic, b'{"UID": "8"}', partition=3)
    code, said = await asyncio.to_thread(streamapp_connect, connect_worker, "apply", str(path))
    assert code == 0, said

    async with AIOKafkaConsumer(bootstrap_servers=connect_broker.bootstrap_servers) as consumer:
        consumer.assign([TopicPartition(topic, 0)])
        await consumer.seek_to_beginning()
        letter = await asyncio.wait_for(consumer.getone(), TIMEOUT_S)
    headers = dict(letter.headers)
    assert (letter.key, letter.value) == (b"7", b"no JSON")
    assert headers["__connect.errors.topic"].decode() == settings.results_topic
    assert headers["__connect.errors.partition"] == b"3"
    assert int(headers["__connect.errors.offset"]) == bad.offset
    assert b"Converting byte[] to Kafka Connect data failed" in headers["__connect.errors.exception.message"]
    code, said = await asyncio.to_thread(
        streamapp_connect, connect_worker, "delete", f"streamapp-{path.stem}", "--yes"
    )
    assert code == 0, said
    # The task has ended: what it had read is written.
    assert written.read_text() == "{UID=8}\n"


def test_a_task_that_fails_is_told_with_its_cause_and_restarted_when_that_is_gone(
    connect_worker: ConnectWorker,
) -> None:
    folder = connect_worker.folder / "not-there-yet"
    path = file_sink(connect_worker, file=str(folder / "sink.txt"))
    name = f"streamapp-{path.stem}"
    code, said = streamapp_connect(connect_worker, "apply", str(path))
    assert (code, f"✗ {name}, task 0 FAILED" in said) == (1, True), said
    assert "NoSuchFileException" in said
    assert "\tat " not in said

    folder.mkdir()
    code, said = streamapp_connect(connect_worker, "restart", name)
    assert (code, said.count("RUNNING")) == (0, 2), said
    code, said = streamapp_connect(connect_worker, "restart", name)
    assert (code, "nothing of it has failed" in said) == (0, True), said
    assert streamapp_connect(connect_worker, "delete", name, "--yes")[0] == 0


@pytest.mark.parametrize("command", ["validate", "apply"])
def test_a_key_file_that_is_not_there_is_told_and_nothing_is_made(
    connect_worker: ConnectWorker, command: str
) -> None:
    # Connect finds nothing wrong with it: the connector takes the reference itself for the key.
    config = snowflake_config(connect_worker)
    config["snowflake.private.key"] = f"${{dir:{connect_worker.secrets}:nowhere.p8}}"
    path = connect_worker.folder / "snowflake-v2.json"
    path.write_text(json.dumps(config))
    code, said = streamapp_connect(connect_worker, command, str(path))
    assert (code, "snowflake.private.key" in said, "nothing wrong" in said) == (1, True, False), said
    assert "the Connect worker finds nothing for" in said
    # A long word is broken where the line ends.
    assert "nowhere.p8}" in said.replace(" ", "") and "no login was tried" in said
    assert "streamapp-snowflake" not in streamapp_connect(connect_worker, "status")[1]


async def test_a_key_that_is_there_is_found_to_be(connect_worker: ConnectWorker) -> None:
    broken = with_broken_key(snowflake_config(connect_worker))
    assert broken is not None
    problems = await problems_of(connect_worker, broken)
    assert [problem.key for problem in problems] == ["snowflake.private.key"]


def test_the_command_is_a_program_of_its_own_by_the_setting(connect_worker: ConnectWorker) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith("STREAMAPP_")}
    result = subprocess.run(
        [sys.executable, "-m", "streamapp", "connect", "restart", "streamapp-nowhere"],
        env=kept | {"STREAMAPP_CONNECT_URL": connect_worker.url},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(f"streamapp: Kafka Connect at {connect_worker.url} has no connector ")
    assert result.stderr.count("\n") == 1


def test_a_file_with_problems_changes_nothing(connect_worker: ConnectWorker) -> None:
    good = file_sink(connect_worker)
    bad = file_sink(connect_worker, **{"tasks.mx": "2"})
    code, said = streamapp_connect(connect_worker, "apply", str(good), str(bad))
    assert (code, "did you mean tasks.max?" in said) == (1, True), said
    assert f"streamapp-{good.stem}" not in streamapp_connect(connect_worker, "status")[1]


def test_a_connector_that_is_not_installed_is_told_with_those_that_are(
    connect_worker: ConnectWorker,
) -> None:
    code, said = streamapp_connect(connect_worker, "validate", str(CONNECT / "snowflake.json"))
    assert (code, "has no com.snowflake.kafka.connector.SnowflakeStreamingSinkConnector" in said) == (1, True)
    assert SNOWFLAKE in said


async def test_a_restart_of_nothing_is_refused(connect_worker: ConnectWorker) -> None:
    async with ConnectClient(connect_worker.url) as connect:
        with pytest.raises(ConnectError, match=r"\(404\): Unknown connector"):
            await connect.restart("streamapp-nowhere")
