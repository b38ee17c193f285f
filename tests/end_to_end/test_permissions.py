"""The permissions in docs/platform-engineer.md are enough, on an Apache Kafka that allows nothing else."""

import asyncio
import io
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.admin import CreateAclsRequest
from aiokafka.structs import TopicPartition
from certificates import self_signed
from deployment import PAGE
from PIL import Image
from workers import WorkerProcess, event

from streamapp.kafka import client_options
from streamapp.local.kafka import broker as kafka
from streamapp.local.kafka.broker import KafkaBroker
from streamapp.local.kafka.properties import Security, server_properties
from streamapp.local.outcomes import OutcomeReader, wait_until_committed
from streamapp.local.pictures import PictureServer
from streamapp.local.sending import send_values
from streamapp.settings import Settings, load_settings
from streamapp.topics import topic_roles

PASSWORD = "not-a-secret"
STRANGER = "stranger"
# Kafka's protocol: types of resources, kinds of patterns, operations.
RESOURCES = {"topic": 2, "group": 3}
LITERAL, PREFIXED = 3, 4
OPERATIONS = {"READ": 3, "WRITE": 4, "CREATE": 5, "DESCRIBE": 8}
ALLOW = 3

Permission = tuple[str, int, str, str]


def permissions() -> list[Permission]:
    """The page's table, Connect's rows left out: user, type of resource, name, operation."""
    found: list[Permission] = []
    user = ""
    table = PAGE.read_text("utf-8").split("<!-- acls -->\n")[1].split("<!-- /acls -->")[0]
    for line in table.splitlines()[2:]:
        who, resources, operations = (cell.strip() for cell in line.strip("|").split("|"))
        user = who.strip("`").removeprefix("streamapp ").lower() or user
        if user == "connect":
            continue
        for kind, names in re.findall(r"(topic|group)s? ((?:`[^`]+`(?:, )?)+)", resources):
            for name in re.findall(r"`([^`]+)`", names):
                found += [(user, RESOURCES[kind], name, operation) for operation in operations.split(", ")]
    return found


PERMISSIONS = permissions()
USERS = {user for user, *_ in PERMISSIONS}


@pytest.fixture(scope="module")
def guarded_broker(kafka_program: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    """Everybody may do what the page's table says; the plaintext listener's users may do all."""
    folder = tmp_path_factory.mktemp("guarded-kafka")
    (folder / "broker.pem").write_bytes(self_signed("broker"))
    authorizer = (
        "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n"
        "super.users=User:ANONYMOUS\n"
    )
    security = Security(folder / "broker.pem", dict.fromkeys({*USERS, STRANGER}, PASSWORD))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(kafka, "server_properties", lambda *parts: server_properties(*parts) + authorizer)
        with KafkaBroker(folder / "kafka", security=security) as broker:
            asyncio.run(allow(broker.bootstrap_servers))
            yield broker


async def allow(bootstrap_servers: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await admin.start()
    try:
        for user, kind, name, operation in PERMISSIONS:
            pattern = PREFIXED if name.endswith("*") else LITERAL
            request = CreateAclsRequest(
                kind, name.removesuffix("*"), pattern, f"User:{user}", "*", OPERATIONS[operation], ALLOW
            )
            response = await admin._send_to_controller(request)
            assert [code for code, _ in response.creation_responses] == [0]
    finally:
        await admin.close()


def variables_of(user: str, broker: KafkaBroker) -> dict[str, str]:
    return {
        "STREAMAPP_BROKERS": broker.sasl_bootstrap_servers,
        "STREAMAPP_SECURITY_PROTOCOL": "SASL_SSL",
        "STREAMAPP_SSL_CA_FILE": str(broker.folder.parent / "broker.pem"),
        "STREAMAPP_SASL_USERNAME": user,
        "STREAMAPP_SASL_PASSWORD": PASSWORD,
        "STREAMAPP_TOPIC_PARTITIONS": "2",
        "STREAMAPP_ALLOW_PRIVATE_HOSTS": "127.0.0.1",
        "STREAMAPP_MODELS": "nudenet",
        "STREAMAPP_DOWNLOAD_ATTEMPTS": "1",
    }


def run(user: str, broker: KafkaBroker, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`streamapp …` as this user."""
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith("STREAMAPP_")}
    return subprocess.run(
        [sys.executable, "-m", "streamapp", *arguments],
        cwd=folder,
        env=kept | variables_of(user, broker),
        capture_output=True,
        text=True,
        timeout=60,
    )


async def moderate(broker: KafkaBroker, folder: Path) -> None:
    """Send as the one who may send; a worker with a worker's permissions gives every event its outcome."""
    picture = io.BytesIO()
    Image.new("RGB", (64, 48), "green").save(picture, "JPEG")
    # Who looks at the outcomes may do all.
    watching = load_settings({"STREAMAPP_BROKERS": broker.bootstrap_servers})
    sending = load_settings(variables_of("send", broker))
    async with PictureServer({"a.jpg": picture.getvalue()}) as server, OutcomeReader(watching) as reader:
        urls = [server.url_of("a.jpg")] * 4 + [server.url_of("missing.jpg")]
        values = [*(event(user, url) for user, url in enumerate(urls)), b"no event"]
        sources = [source async for _, source in send_values(sending, values)]
        with WorkerProcess(variables_of("worker", broker), folder) as worker:
            overdue = await reader.collect(
                sources, timeout_s=60, on_outcome=lambda _: None, check=worker.check
            )
            assert not overdue, worker.log
            assert not await wait_until_committed(watching, sources, timeout_s=20), worker.log
            worker.process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(worker.process.wait, 30) == 0, worker.log


async def lag_as_keda_reads_it(settings: Settings) -> int:
    """End of the topic's partitions less the group's committed offsets."""
    admin = AIOKafkaAdminClient(**client_options(settings))
    consumer = AIOKafkaConsumer(**client_options(settings))
    await admin.start()
    await consumer.start()
    try:
        committed = await admin.list_consumer_group_offsets(settings.group)
        ends = await consumer.end_offsets(
            [TopicPartition(settings.events_topic, partition) for partition in (0, 1)]
        )
        return sum(ends.values()) - sum(offset.offset for offset in committed.values())
    finally:
        await consumer.stop()
        await admin.close()


def test_everybody_can_do_their_work_and_a_stranger_nothing(
    guarded_broker: KafkaBroker, tmp_path: Path
) -> None:
    done = run("topics", guarded_broker, tmp_path, "topics")
    assert done.returncode == 0, done.stderr
    asyncio.run(moderate(guarded_broker, tmp_path))

    rows = run("results", guarded_broker, tmp_path, "results", "--all", "--json")
    assert len(rows.stdout.splitlines()) == 5, rows.stderr
    replayed = run("dead-letters", guarded_broker, tmp_path, "dead-letters", "replay", "--yes", "--json")
    assert replayed.returncode == 0, replayed.stderr
    assert len(replayed.stdout.splitlines()) == 1
    arguments = ("backfill", "--offsets", "0:0-", "--offsets", "1:0-", "--only-reason", "not_found")
    backfilled = run("backfill", guarded_broker, tmp_path, *arguments)
    assert backfilled.returncode == 0, backfilled.stdout + backfilled.stderr
    assert "1 rows" in backfilled.stdout
    # The record that was sent back, which no worker has taken yet.
    assert asyncio.run(lag_as_keda_reads_it(load_settings(variables_of("keda", guarded_broker)))) == 1

    stranger = run(STRANGER, guarded_broker, tmp_path, "topics", "--dry-run")
    assert stranger.stdout.count("missing") == len(topic_roles(Settings())), "Kafka shows a stranger no topic"
