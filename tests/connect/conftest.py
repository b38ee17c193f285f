"""A Connect worker on a broker of its own for the tests of this folder: what it is told, the broker keeps."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from connect_worker import ConnectWorker, plugin_folder

from streamapp.local.kafka.broker import KafkaBroker
from streamapp.local.kafka.jars import find_java
from streamapp.local.kafka.properties import Security

USER, PASSWORD = "connect", "not-a-secret"
RESULTS_TOPIC = "content_moderation_profile-results_dev"


@pytest.fixture(scope="session")
def throwaway_key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A private key as connect/README.md has it made, by its own commands."""
    folder = tmp_path_factory.mktemp("key")
    command = ["openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]
    subprocess.run([*command, "-out", "snowflake_key.p8"], cwd=folder, check=True, capture_output=True)
    return folder / "snowflake_key.p8"


@pytest.fixture(scope="session")
def certificates(connect_program: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with broker.pem, a key and its certificate, and trust.p12, which trusts it."""
    folder = tmp_path_factory.mktemp("certificates")
    make = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        "key.pem",
        "-out",
        "cert.pem",
    ]
    make += ["-days", "1", "-subj", "/CN=broker", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(make, cwd=folder, check=True, capture_output=True)
    (folder / "broker.pem").write_text((folder / "key.pem").read_text() + (folder / "cert.pem").read_text())
    trust = [str(Path(find_java()).with_name("keytool")), "-importcert", "-noprompt", "-alias", "broker"]
    trust += ["-file", "cert.pem", "-keystore", "trust.p12", "-storetype", "PKCS12", "-storepass", PASSWORD]
    subprocess.run(trust, cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="session")
def connect_broker(certificates: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    """Apache Kafka with a SASL_SSL listener, which Connect uses, beside the plaintext one of the tests."""
    security = Security(certificates / "broker.pem", {USER: PASSWORD})
    with KafkaBroker(tmp_path_factory.mktemp("connect-kafka"), security=security) as broker:
        yield broker


@pytest.fixture(scope="session")
def connect_worker(
    connect_broker: KafkaBroker,
    certificates: Path,
    throwaway_key: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[ConnectWorker]:
    """Connect with the Snowflake sink 2.5.0, the JDBC sink and the file sink; Snowflake's port is refused."""
    worker = ConnectWorker(
        tmp_path_factory.mktemp("connect"),
        connect_broker.sasl_bootstrap_servers,
        plugins=[plugin_folder(name) for name in ("snowflake-v2", "jdbc", "file")],
        environment={
            "CONNECT_SECURITY_PROTOCOL": "SASL_SSL",
            "CONNECT_SASL_JAAS_CONFIG": "org.apache.kafka.common.security.scram.ScramLoginModule required "
            f'username="{USER}" password="{PASSWORD}";',
            "JAVA_TOOL_OPTIONS": f"-Djavax.net.ssl.trustStore={certificates / 'trust.p12'} "
            f"-Djavax.net.ssl.trustStorePassword={PASSWORD}",
            "STREAMAPP_RESULTS_TOPIC": RESULTS_TOPIC,
            "SNOWFLAKE_URL": "http://127.0.0.1:1",
            "SNOWFLAKE_USER": "STREAMAPP",
            "SNOWFLAKE_ROLE": "STREAMAPP_LOADER",
            "SNOWFLAKE_DATABASE": "STREAMAPP",
            "SNOWFLAKE_SCHEMA": "MODERATION",
            "WAREHOUSE_JDBC_URL": "jdbc:postgresql://127.0.0.1:1/warehouse",
            "WAREHOUSE_USER": "streamapp",
            "WAREHOUSE_PASSWORD": "kept-by-the-worker",
            "OTHERS_SECRET": "not-for-connectors",
        },
    )
    with worker:
        (worker.secrets / throwaway_key.name).write_bytes(throwaway_key.read_bytes())
        yield worker
