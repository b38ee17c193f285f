"""`docker compose run demo` without Docker: the services' own commands and settings, on real parts.

Apache Kafka for Redpanda, Kafka Connect, PostgreSQL, a worker and the picture server; all but their addresses
as docker-compose.yml has it.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest
from compose_file import ROOT, load, on_host
from connect_worker import ConnectWorker, plugin_folder
from warehouse.postgres_cluster import NoPostgresError, PostgresCluster
from workers import WorkerProcess

from streamapp.local.broker import free_port
from streamapp.local.kafka.broker import KafkaBroker
from streamapp.local.processes import ChildProcess

SERVICES: dict[str, dict[str, Any]] = load({"STREAMAPP_MODELS": "nudenet"})["services"]
BIN = Path(sys.executable).parent
TIMEOUT_S = 120


class Stack:
    """The running services, by the addresses that they have here."""

    def __init__(self, kafka: KafkaBroker, database_url: str, pictures_port: int) -> None:
        self.addresses = {
            SERVICES["demo"]["environment"]["STREAMAPP_WAREHOUSE_URL"]: database_url,
            SERVICES["connect"]["environment"]["CONNECT_BOOTSTRAP_SERVERS"]: kafka.bootstrap_servers,
            "/models": str(Path("~/.cache/streamapp").expanduser()),
            "pictures": "127.0.0.1",
        }
        self.pictures_url = f"http://127.0.0.1:{pictures_port}"

    def environment(self, name: str) -> dict[str, str]:
        """A service's variables, with the addresses of here."""
        given = {key: str(value) for key, value in SERVICES[name]["environment"].items()}
        return {key: self.addresses.get(value, value) for key, value in given.items()}

    def play(self, name: str) -> None:
        """Run a one-shot as the image's entrypoint would."""
        service = SERVICES[name]
        done = self.run(name, "streamapp", *(on_host(service, word) for word in service["command"]))
        assert done.returncode == 0, f"{name}:\n{done.stdout}{done.stderr}"

    def run(self, name: str, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command with a service's environment to its end."""
        environment = {"PATH": f"{BIN}:{os.environ['PATH']}", "HOME": os.environ["HOME"], "COLUMNS": "100"}
        environment |= self.environment(name) | {"PICTURES_URL": self.pictures_url}
        return subprocess.run(
            command, env=environment, cwd="/", capture_output=True, text=True, timeout=TIMEOUT_S
        )


@pytest.fixture(scope="module")
def database() -> Iterator[dict[str, str]]:
    """A warehouse, made by the scripts that the service postgres mounts: its URL, JDBC's, the password."""
    with ExitStack() as running:
        try:
            cluster = running.enter_context(PostgresCluster())
        except NoPostgresError as exc:
            pytest.skip(str(exc))
        name = cluster.new_warehouse()
        yield {
            "url": cluster.url(name),
            "jdbc_url": f"jdbc:postgresql://127.0.0.1:{cluster.port}/{name}",
            "password": cluster.password,
        }


@pytest.fixture(scope="module")
def stack(
    connect_program: None, database: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """What `docker compose up -d` starts. A broker of its own: Connect's topics have one name everywhere."""
    folder = tmp_path_factory.mktemp("compose")
    with ExitStack() as running:
        kafka = running.enter_context(KafkaBroker(folder / "kafka"))
        stack = Stack(kafka, database["url"], free_port())
        running.enter_context(_pictures(stack, folder))
        stack.play("topics")
        stack.play("models")
        worker = running.enter_context(WorkerProcess(stack.environment("worker"), folder))
        variables = stack.environment("connect") | {
            "CONNECT_ADVERTISED_HOST": "127.0.0.1",
            "WAREHOUSE_JDBC_URL": database["jdbc_url"],
            "WAREHOUSE_PASSWORD": database["password"],
        }
        connect = ConnectWorker(
            folder / "connect",
            kafka.bootstrap_servers,
            plugins=[plugin_folder("jdbc")],
            environment=variables,
        )
        running.enter_context(connect)
        stack.addresses[SERVICES["connectors"]["environment"]["STREAMAPP_CONNECT_URL"]] = connect.url
        stack.play("connectors")
        yield stack
        worker.check()


def _pictures(stack: Stack, folder: Path) -> ChildProcess:
    """The service pictures, on a port and an address of here."""
    service = SERVICES["pictures"]
    port, *options = service["command"]
    module = service["entrypoint"][service["entrypoint"].index("python") + 1 :]
    here = [stack.pictures_url.rsplit(":", 1)[1], "--bind", "127.0.0.1"]
    command = [sys.executable, *module, *here, *(on_host(service, word) for word in options)]
    assert port == "8000"
    return ChildProcess("picture server", command, log_file=folder / "pictures.log")


def test_the_demo_ends_with_the_rows_of_its_events_out_of_the_warehouse(
    stack: Stack, database: dict[str, str]
) -> None:
    script = on_host(SERVICES["demo"], SERVICES["demo"]["entrypoint"][-1])
    assert script == str(ROOT / "deploy/compose/demo.sh")

    done = stack.run("demo", "sh", script)

    assert done.returncode == 0, done.stdout + done.stderr
    with psycopg.connect(database["url"]) as connection:
        rows = connection.execute(
            "select image_url, nn_status, reason, to_be_moderated from moderation_events "
            "order by source_offset"
        ).fetchall()
    assert [(url.rsplit("/", 1)[1], *rest) for url, *rest in rows] == [
        ("astronaut.jpg", 0, None, False),
        ("camera.jpg", 0, None, False),
        ("chelsea.jpg", 0, None, False),
        ("coffee.jpg", 0, None, True),
        ("rocket.jpg", 0, None, False),
        ("SOURCES.md", 1, "unknown_format", True),
        ("not-there.jpg", 403, "not_found", True),
        ("", 403, "address_blocked", True),
    ]
    table = done.stdout.splitlines()
    assert all(any(url.rsplit("/", 1)[1] in line for line in table) for url, *_ in rows)
    assert max(map(len, table)) <= 100


def test_the_analysts_query_is_asked_from_a_service_that_reaches_the_warehouse() -> None:
    page = (ROOT / "docs/analyst.md").read_text("utf-8")
    (line,) = re.findall(r"^\$ docker compose run .*--entrypoint streamapp (.+)$", page, re.MULTILINE)
    name, arguments = line.split(maxsplit=1)

    # Its twin there is a command that exists: tests/docs.
    assert f"$ streamapp {arguments}\n" in page
    assert set(SERVICES[name]["networks"]) >= set(SERVICES["postgres"]["networks"])
    assert "@postgres:" in SERVICES[name]["environment"]["STREAMAPP_WAREHOUSE_URL"]
