"""Logins and client certificates on Apache Kafka: every client of the worker gets in, or says why not."""

import asyncio
import io
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from certificates import self_signed
from PIL import Image
from workers import WorkerProcess, event

from streamapp.errors import SettingsError
from streamapp.local.kafka.broker import KafkaBroker
from streamapp.local.kafka.properties import Security
from streamapp.local.outcomes import Outcome, OutcomeReader, wait_until_committed
from streamapp.local.pictures import PictureServer
from streamapp.local.sending import send_values
from streamapp.settings import load_settings
from streamapp.topics import ensure_topics

USER, PASSWORD = "moderation", "not-a-secret"
# Above the 30 s that asyncio gives a peer to end TLS.
TIMEOUT_S = 60


@pytest.fixture(autouse=True)
async def ended_connections() -> AsyncIterator[None]:
    """Waits for the end of the connections that aiokafka has closed.

    After a refusal it waits for none, and one that TLS has not ended by the end of the test's loop is told as
    an unclosed transport, by whichever test collects garbage next.
    """
    yield
    loop: Any = asyncio.get_running_loop()
    async with asyncio.timeout(TIMEOUT_S):
        while not all(transport.is_closing() for transport in loop._transports.values()):
            await asyncio.sleep(0.01)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with broker.pem and client.pem: a private key with the certificate that it signed itself."""
    folder = tmp_path_factory.mktemp("certificates")
    for name in ("broker", "client"):
        (folder / f"{name}.pem").write_bytes(self_signed(name))
    return folder


@pytest.fixture(scope="module")
def secure_broker(
    kafka_program: None, certificates: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[KafkaBroker]:
    security = Security(certificates / "broker.pem", {USER: PASSWORD}, client_ca=certificates / "client.pem")
    with KafkaBroker(tmp_path_factory.mktemp("secure-kafka"), security=security) as broker:
        yield broker


@pytest.fixture
def login(kafka_variables: dict[str, str], secure_broker: KafkaBroker, certificates: Path) -> dict[str, str]:
    """The environment of a worker that logs in to Apache Kafka by SASL_SSL."""
    return kafka_variables | {
        "STREAMAPP_BROKERS": secure_broker.sasl_bootstrap_servers,
        "STREAMAPP_SECURITY_PROTOCOL": "SASL_SSL",
        "STREAMAPP_SSL_CA_FILE": str(certificates / "broker.pem"),
        "STREAMAPP_SASL_USERNAME": USER,
        "STREAMAPP_SASL_PASSWORD": PASSWORD,
    }


@pytest.fixture
def client_certificate(
    kafka_variables: dict[str, str], secure_broker: KafkaBroker, certificates: Path
) -> dict[str, str]:
    """The environment of a worker that shows Apache Kafka a client certificate."""
    return kafka_variables | {
        "STREAMAPP_BROKERS": secure_broker.ssl_bootstrap_servers,
        "STREAMAPP_SECURITY_PROTOCOL": "SSL",
        "STREAMAPP_SSL_CA_FILE": str(certificates / "broker.pem"),
        "STREAMAPP_SSL_CERT_FILE": str(certificates / "client.pem"),
        "STREAMAPP_SSL_KEY_FILE": str(certificates / "client.pem"),
    }


def jpeg() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 48), "green").save(file, "JPEG")
    return file.getvalue()


async def moderate(variables: dict[str, str], folder: Path) -> None:
    """Admin client, producer and reader of ours, and a worker: every event gets its row and is committed."""
    settings = load_settings(variables)
    await ensure_topics(settings)
    rows: list[Outcome] = []
    async with PictureServer({"a.jpg": jpeg()}) as server, OutcomeReader(settings) as reader:
        values = [event(user, server.url_of("a.jpg")) for user in range(20)]
        sources = [source async for _, source in send_values(settings, values)]
        with WorkerProcess(variables, folder) as worker:
            overdue = await reader.collect(sources, timeout_s=60, on_outcome=rows.append, check=worker.check)
            assert not overdue, worker.log
            assert not await wait_until_committed(settings, sources, timeout_s=20)
            worker.process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(worker.process.wait, 30) == 0, worker.log
            assert PASSWORD not in worker.log
    assert len(rows) == len(values)


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"])
async def test_a_worker_logs_in(login: dict[str, str], tmp_path: Path, mechanism: str) -> None:
    await moderate(login | {"STREAMAPP_SASL_MECHANISM": mechanism}, tmp_path)


async def test_a_worker_shows_its_certificate(client_certificate: dict[str, str], tmp_path: Path) -> None:
    await moderate(client_certificate, tmp_path)


@pytest.mark.parametrize(
    ("mechanism", "cause"),
    [
        ("SCRAM-SHA-512", "invalid credentials with SASL mechanism SCRAM-SHA-512"),
        ("SCRAM-SHA-256", "invalid credentials with SASL mechanism SCRAM-SHA-256"),
        ("PLAIN", "Invalid username or password"),
    ],
)
async def test_a_wrong_password_is_told_as_what_it_is(
    login: dict[str, str], mechanism: str, cause: str
) -> None:
    wrong = {"STREAMAPP_SASL_MECHANISM": mechanism, "STREAMAPP_SASL_PASSWORD": "hunter2"}
    with pytest.raises(
        SettingsError, match=f"refuses the login of '{USER}' by {mechanism}: .*{cause}"
    ) as caught:
        await ensure_topics(load_settings(login | wrong))
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("file", "refusal"),
    [
        ("broker.pem", r"refuses the client certificate of STREAMAPP_SSL_CERT_FILE .*broker\.pem"),
        (None, "wants a client certificate"),
    ],
)
async def test_a_refused_certificate_is_told_as_what_it_is(
    client_certificate: dict[str, str], certificates: Path, file: str | None, refusal: str
) -> None:
    shown = {name: value for name, value in client_certificate.items() if not name.endswith("_KEY_FILE")}
    del shown["STREAMAPP_SSL_CERT_FILE"]
    if file is not None:
        path = str(certificates / file)
        shown |= {"STREAMAPP_SSL_CERT_FILE": path, "STREAMAPP_SSL_KEY_FILE": path}
    with pytest.raises(SettingsError, match=refusal):
        await ensure_topics(load_settings(shown))


async def test_a_listener_that_knows_no_logins_is_told_as_what_it_is(
    login: dict[str, str], secure_broker: KafkaBroker, certificates: Path
) -> None:
    client = str(certificates / "client.pem")
    variables = login | {
        "STREAMAPP_BROKERS": secure_broker.ssl_bootstrap_servers,
        "STREAMAPP_SSL_CERT_FILE": client,
        "STREAMAPP_SSL_KEY_FILE": client,
    }
    with pytest.raises(SettingsError, match=f"refuses the login of '{USER}'"):
        await ensure_topics(load_settings(variables))


async def test_a_worker_with_a_wrong_password_ends_and_says_why(
    login: dict[str, str], tmp_path: Path
) -> None:
    with WorkerProcess(login | {"STREAMAPP_SASL_PASSWORD": "hunter2"}, tmp_path) as worker:
        assert await asyncio.to_thread(worker.process.wait, 60) == 1, worker.log

    assert f"refuses the login of '{USER}' by SCRAM-SHA-512" in worker.log
    assert "does not answer" not in worker.log
    assert "hunter2" not in worker.log
