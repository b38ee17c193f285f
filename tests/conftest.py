"""What several test folders share: an embedded broker, Apache Kafka and an S3 server for the whole run.

Topics and AWS variables are each test's own.
"""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import hypothesis
import pytest
from connect_worker import plugin_folder, runtime_folder

from streamapp.errors import BrokerError
from streamapp.local.broker import EmbeddedBroker
from streamapp.local.kafka.broker import KafkaBroker
from streamapp.local.kafka.jars import fetch_jars, find_java
from streamapp.settings import Settings, load_settings

# No test fails by the clock: speed is measured under benchmarks/.
hypothesis.settings.register_profile("streamapp", deadline=None)
hypothesis.settings.load_profile("streamapp")


@pytest.fixture(scope="session")
def embedded_broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as broker:
        yield broker


@pytest.fixture
def kafka_variables(embedded_broker: EmbeddedBroker) -> dict[str, str]:
    """The environment of a worker on the embedded broker, with names that no other test uses."""
    name = uuid.uuid4().hex[:8]
    return {
        "STREAMAPP_BROKERS": embedded_broker.bootstrap_servers,
        "STREAMAPP_EVENTS_TOPIC": f"events-{name}",
        "STREAMAPP_RESULTS_TOPIC": f"results-{name}",
        "STREAMAPP_DEAD_LETTER_TOPIC": f"dead-{name}",
        "STREAMAPP_GROUP": f"group-{name}",
        # The embedded broker completes a join only after the rebalance timeout.
        "STREAMAPP_SESSION_TIMEOUT_S": "6",
        "STREAMAPP_REBALANCE_TIMEOUT_S": "3",
        "STREAMAPP_ALLOW_PRIVATE_HOSTS": "127.0.0.1",
        "STREAMAPP_RETRY_BASE_S": "0.01",
        "STREAMAPP_DOWNLOAD_ATTEMPTS": "2",
        "STREAMAPP_MODELS": "nudenet",
    }


@pytest.fixture
def kafka_settings(kafka_variables: dict[str, str]) -> Settings:
    """The same as settings."""
    return load_settings(kafka_variables)


@contextmanager
def _skipped_without_java() -> Iterator[None]:
    try:
        yield
    except BrokerError as exc:
        if os.environ.get("CI") and shutil.which("java") and shutil.which("mvn"):
            raise
        pytest.skip(str(exc))


@pytest.fixture(scope="session")
def kafka_program() -> None:
    """Skips where Apache Kafka can't be had; fails instead in CI that has Java and Maven."""
    with _skipped_without_java():
        find_java()
        fetch_jars()


@pytest.fixture(scope="session")
def connect_program(kafka_program: None) -> None:
    """The same for Kafka Connect with the JDBC sink: what a `ConnectWorker` runs."""
    with _skipped_without_java():
        runtime_folder()
        plugin_folder("jdbc")


@pytest.fixture(scope="session")
def kafka_broker(kafka_program: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    """Apache Kafka itself. A test that kills it starts it again."""
    with KafkaBroker(tmp_path_factory.mktemp("kafka")) as broker:
        yield broker


@pytest.fixture(scope="session")
def moto_port() -> Iterator[int]:
    """Moto's S3 server; a test that needs it empty resets it by POST to /moto-api/reset."""
    # Takes a second, which most runs of a few tests should not.
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    yield server.get_host_and_port()[1]
    server.stop()


@pytest.fixture
def no_aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An environment in which boto3 finds no credentials, region or endpoint, and asks no metadata server."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))


@pytest.fixture
def aws(no_aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same with credentials that moto takes."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
