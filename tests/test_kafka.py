"""How the broker is reached: never without TLS where there is a login, and secrets stay secret."""

import _ssl
import asyncio
import logging
import shutil
import socket
import ssl
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError, NodeNotReadyError
from faust.auth import SASLCredentials, SSLCredentials
from faust.types.auth import AuthProtocol

from streamapp.errors import BrokerError, SettingsError
from streamapp.kafka import (
    CERTIFICATE_REFUSALS,
    LOGIN_REFUSALS,
    advice,
    client_options,
    faust_broker_url,
    faust_credentials,
    require_login,
)
from streamapp.settings import Settings
from streamapp.topics import ensure_topics

PASSWORD = "hunter2"
LOGIN: dict[str, Any] = {
    "security_protocol": "SASL_SSL",
    "sasl_username": "moderation",
    "sasl_password": PASSWORD,
}


@dataclass(frozen=True)
class Certificates:
    """A CA of our own with a server's certificate for 127.0.0.1 and a client's; the client's key twice."""

    ca: Path
    other_ca: Path
    server: Path
    server_key: Path
    client: Path
    client_key: Path
    encrypted_client_key: Path


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    if shutil.which("openssl") is None:
        pytest.skip("the openssl command makes the certificates, and is not here")
    folder = tmp_path_factory.mktemp("certificates")
    make_ca(folder, "ca")
    make_ca(folder, "other-ca")
    (folder / "server.ext").write_text("subjectAltName=IP:127.0.0.1\n")
    (folder / "client.ext").write_text("extendedKeyUsage=clientAuth\n")
    for name in ("server", "client"):
        request = f"req -newkey rsa:2048 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr"
        openssl(folder, *request.split())
        signing = f"x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2"
        openssl(folder, *signing.split(), "-extfile", f"{name}.ext", "-out", f"{name}.pem")
    encrypting = f"rsa -aes256 -passout pass:{PASSWORD} -in client.key -out client-encrypted.key"
    openssl(folder, *encrypting.split())
    names = ("ca.pem", "other-ca.pem", "server.pem", "server.key", "client.pem", "client.key")
    return Certificates(*(folder / name for name in names), folder / "client-encrypted.key")


def make_ca(folder: Path, name: str) -> None:
    command = f"req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN={name} -keyout {name}.key -out {name}.pem"
    openssl(folder, *command.split())


def openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=60)


class HandshakeListener:
    """Takes one TLS connection on loopback, notes the client's certificate or what failed, and hangs up."""

    def __init__(self, certificates: Certificates) -> None:
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificates.ca)
        self._context.load_cert_chain(certificates.server, certificates.server_key)
        self._context.verify_mode = ssl.CERT_REQUIRED
        self.client_name: str | None = None
        self.failure: Exception | None = None

    def __enter__(self) -> "HandshakeListener":
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.settimeout(20)
        self._thread = threading.Thread(target=self._take_one)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(30)
        self._socket.close()

    @property
    def brokers(self) -> str:
        return f"127.0.0.1:{self._socket.getsockname()[1]}"

    def _take_one(self) -> None:
        try:
            connection, _ = self._socket.accept()
            connection.settimeout(20)
            with connection, self._context.wrap_socket(connection, server_side=True) as encrypted:
                # In TLS 1.3 the client's certificate is only checked with the first bytes that follow.
                encrypted.recv(1)
                names = dict(pair for name in encrypted.getpeercert()["subject"] for pair in name)
                self.client_name = names["commonName"]
        except OSError as exc:
            self.failure = exc


def mutual_tls(certificates: Certificates, **changes: Any) -> Settings:
    files = {
        "ssl_ca_file": certificates.ca,
        "ssl_cert_file": certificates.client,
        "ssl_key_file": certificates.client_key,
    }
    return Settings(security_protocol="SSL", **(files | changes))


def test_plaintext_needs_no_context_and_no_credentials() -> None:
    settings = Settings(brokers="one:9092, two:9093", group="moderation")

    assert client_options(settings) == {
        "bootstrap_servers": ["one:9092", "two:9093"],
        "client_id": "moderation",
        "security_protocol": "PLAINTEXT",
    }
    assert faust_broker_url(settings) == ["kafka://one:9092", "kafka://two:9093"]
    assert faust_credentials(settings) is None


def test_tls_checks_the_brokers_certificate_and_its_name() -> None:
    settings = Settings(security_protocol="SSL")
    credentials = faust_credentials(settings)

    assert isinstance(credentials, SSLCredentials)
    assert credentials.protocol == AuthProtocol.SSL
    for context in (client_options(settings)["ssl_context"], credentials.context):
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname


def test_the_ca_file_is_the_only_one_that_is_trusted(certificates: Certificates) -> None:
    context = client_options(mutual_tls(certificates))["ssl_context"]

    names = [dict(pair for name in ca["subject"] for pair in name) for ca in context.get_ca_certs()]
    assert names == [{"commonName": "ca"}]


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_a_login_never_goes_without_tls(mechanism: str) -> None:
    settings = Settings(**LOGIN, sasl_mechanism=mechanism)
    options, credentials = client_options(settings), faust_credentials(settings)

    assert options["security_protocol"] == "SASL_SSL"
    assert options["sasl_mechanism"] == mechanism
    assert (options["sasl_plain_username"], options["sasl_plain_password"]) == ("moderation", PASSWORD)
    assert isinstance(credentials, SASLCredentials)
    assert credentials.mechanism.value == mechanism
    # Without a context Faust's credentials say SASL_PLAINTEXT: the password would be readable on the wire.
    assert credentials.protocol == AuthProtocol.SASL_SSL
    for context in (options["ssl_context"], credentials.ssl_context):
        assert context.verify_mode is ssl.CERT_REQUIRED


def test_secrets_are_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        settings = Settings(**LOGIN, ssl_key_password=PASSWORD)
        credentials = faust_credentials(settings)
        client_options(settings)

    assert PASSWORD not in repr(settings) + str(settings) + repr(credentials) + caplog.text


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
def test_a_ca_file_that_can_not_be_used_is_named(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError, match=f"STREAMAPP_SSL_CA_FILE {file}"):
        client_options(Settings(security_protocol="SSL", ssl_ca_file=file))


def test_client_files_that_can_not_be_used_are_named(certificates: Certificates, tmp_path: Path) -> None:
    broken = tmp_path / "broken.pem"
    broken.write_text("no certificate")
    for changes in (
        {"ssl_cert_file": tmp_path / "missing.pem"},
        {"ssl_cert_file": broken},
        {"ssl_key_file": broken},
        {"ssl_key_file": certificates.server_key},
    ):
        settings = mutual_tls(certificates, **changes)
        with pytest.raises(SettingsError) as caught:
            client_options(settings)
        assert f"STREAMAPP_SSL_CERT_FILE {settings.ssl_cert_file}" in str(caught.value)
        assert f"STREAMAPP_SSL_KEY_FILE {settings.ssl_key_file}" in str(caught.value)


@pytest.mark.parametrize("password", [None, "wrong", "x" * 2000])
def test_a_key_with_another_password_is_refused_and_never_asked_for(
    certificates: Certificates, password: str | None
) -> None:
    settings = mutual_tls(
        certificates, ssl_key_file=certificates.encrypted_client_key, ssl_key_password=password
    )
    with pytest.raises(SettingsError, match="STREAMAPP_SSL_KEY_FILE") as caught:
        client_options(settings)
    assert password is None or password not in str(caught.value)


@pytest.mark.parametrize("is_encrypted", [False, True])
async def test_a_broker_gets_our_client_certificate(certificates: Certificates, is_encrypted: bool) -> None:
    key = certificates.encrypted_client_key if is_encrypted else certificates.client_key
    with HandshakeListener(certificates) as listener:
        settings = mutual_tls(
            certificates,
            brokers=listener.brokers,
            ssl_key_file=key,
            ssl_key_password=PASSWORD if is_encrypted else None,
        )
        with pytest.raises(BrokerError, match="does not answer"):
            await ensure_topics(settings, create=False)

    assert listener.failure is None
    assert listener.client_name == "client"


async def test_a_broker_that_another_ca_vouches_for_is_refused_with_the_cause(
    certificates: Certificates,
) -> None:
    with HandshakeListener(certificates) as listener:
        settings = mutual_tls(certificates, brokers=listener.brokers, ssl_ca_file=certificates.other_ca)
        with pytest.raises(BrokerError, match="certificate verify failed"):
            await ensure_topics(settings, create=False)

    assert listener.client_name is None


@pytest.mark.parametrize("refusal", LOGIN_REFUSALS)
def test_a_refused_login_is_told_from_what_waiting_mends_and_names_no_password(
    refusal: type[Exception],
) -> None:
    settings = Settings(**LOGIN)
    away = [KafkaConnectionError("away"), OSError("refused"), NodeNotReadyError("away")]
    require_login(settings, away)
    with pytest.raises(
        SettingsError, match=r"refuses the login of 'moderation' by SCRAM-SHA-512: .*why"
    ) as caught:
        require_login(settings, [*away, refusal("why")])

    assert PASSWORD not in str(caught.value)


def closed_because_of(cause: BaseException) -> KafkaConnectionError:
    """What aiokafka says of a connection that ended where an answer was due."""
    error = KafkaConnectionError("Connection at 127.0.0.1:9092 closed")
    error.__cause__ = cause
    return error


def alert(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, f"[SSL: {reason}]")
    error.reason = reason
    return error


@pytest.mark.parametrize("reason", sorted(CERTIFICATE_REFUSALS))
def test_a_refused_certificate_is_told_from_what_waiting_mends(reason: str, tmp_path: Path) -> None:
    assert reason in _ssl.err_codes_to_names.values(), "OpenSSL has no such error."
    files: dict[str, Any] = {
        "ssl_cert_file": tmp_path / "client.pem",
        "ssl_key_file": tmp_path / "client.key",
    }
    with_certificate = Settings(security_protocol="SSL", **files)
    # In the handshake of TLS 1.2; in place of the first answer with TLS 1.3.
    for error in (alert(reason), closed_because_of(alert(reason))):
        with pytest.raises(SettingsError, match=r"refuses the client certificate of .*client\.pem: \w+"):
            require_login(with_certificate, [KafkaConnectionError("away"), error])
        with pytest.raises(SettingsError, match=r"wants a client certificate .* set STREAMAPP_SSL_CERT_FILE"):
            require_login(Settings(security_protocol="SSL"), [error])


def test_a_broken_connection_is_no_refused_certificate() -> None:
    broken = closed_because_of(ConnectionResetError(104, "reset"))
    require_login(Settings(security_protocol="SSL"), [broken, alert("SSLV3_ALERT_HANDSHAKE_FAILURE")])


@pytest.mark.parametrize(
    ("error", "setting"),
    [
        (ssl.SSLCertVerificationError(1, "self-signed"), "STREAMAPP_SSL_CA_FILE"),
        (
            closed_because_of(asyncio.IncompleteReadError(b"\x15\x03", 4)),
            "STREAMAPP_SECURITY_PROTOCOL=PLAINTEXT",
        ),
        (ConnectionResetError(), "STREAMAPP_SECURITY_PROTOCOL=PLAINTEXT"),
        (alert("WRONG_VERSION_NUMBER"), "STREAMAPP_SECURITY_PROTOCOL=PLAINTEXT"),
    ],
    ids=["certificate", "closed", "reset", "no_tls"],
)
def test_an_error_that_points_at_a_setting_names_it(error: BaseException, setting: str) -> None:
    assert setting in advice(Settings(), [KafkaConnectionError("away"), error])


@pytest.mark.parametrize(
    "error", [ConnectionRefusedError(111, "refused"), TimeoutError(), NodeNotReadyError()]
)
def test_a_broker_that_is_away_points_at_no_setting(error: BaseException) -> None:
    assert advice(Settings(), [error]) == ""
