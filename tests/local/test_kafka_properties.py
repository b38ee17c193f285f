"""The broker's configuration: which listeners it has, and what it refuses."""

from pathlib import Path

import pytest

from streamapp.errors import BrokerError
from streamapp.local.kafka.properties import Ports, Security, server_properties


def properties(ports: Ports, security: Security | None = None) -> dict[str, str]:
    lines = server_properties(ports, security).splitlines()
    return dict(line.split("=", 1) for line in lines)


def test_without_security_there_is_the_plaintext_listener_alone_on_loopback() -> None:
    found = properties(Ports(plaintext=1001, controller=1002))
    assert found["listeners"] == "PLAINTEXT://127.0.0.1:1001,CONTROLLER://127.0.0.1:1002"
    assert found["advertised.listeners"] == "PLAINTEXT://127.0.0.1:1001"
    assert not any("jaas" in name or "keystore" in name for name in found)


def test_client_certificates_are_demanded_where_a_ca_is_given(tmp_path: Path) -> None:
    ports = Ports(plaintext=1001, controller=1002, sasl_ssl=1003, ssl=1004)
    found = properties(ports, Security(tmp_path / "key.pem", {"u": "p"}, client_ca=tmp_path / "ca.pem"))
    assert found["advertised.listeners"].split(",") == [
        "PLAINTEXT://127.0.0.1:1001",
        "SASL_SSL://127.0.0.1:1003",
        "SSL://127.0.0.1:1004",
    ]
    assert found["listener.name.ssl.ssl.client.auth"] == "required"


@pytest.mark.parametrize(
    "users",
    [{}, {"": "p"}, {"u": ""}, {"u": 'p" user_admin="p'}, {"u": "p,name=x]"}, {"ü": "p"}, {"u": "p\n"}],
)
def test_users_that_a_configuration_file_can_not_hold_are_refused(users: dict[str, str]) -> None:
    with pytest.raises(BrokerError, match="a name and a password each"):
        Security(Path("key.pem"), users)
