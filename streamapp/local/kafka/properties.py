"""The broker's server.properties, as a value."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from streamapp.errors import BrokerError

HOST = "127.0.0.1"
SCRAM_MECHANISMS = ("SCRAM-SHA-256", "SCRAM-SHA-512")

# Relative to the folder that the broker runs in: a properties file can't hold every path as it is.
DATA = "data"
KEYSTORE = "keystore.pem"
CLIENT_CA = "client-ca.pem"

_PROTOCOLS = "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,SSL:SSL"
_WORD = re.compile(r"[A-Za-z0-9._~-]+")


@dataclass(frozen=True, slots=True)
class Security:
    """Listeners beside the plaintext one: SASL_SSL, and SSL with client certificates where a CA is given.

    For tests: the passwords stand in the folder's server.properties and, while it is formatted, in the
    process list.

    Attributes:
        keystore: PEM file with the broker's private key (PKCS#8) and its certificate, for 127.0.0.1.
        users: name → password, for PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512 alike. Those of SCRAM are written
            when the folder is formatted, and stay.
        client_ca: PEM file; the SSL listener wants a certificate that chains to it. None: no such listener.
    """

    keystore: Path
    users: Mapping[str, str]
    client_ca: Path | None = None

    def __post_init__(self) -> None:
        if not self.users or not all(map(_WORD.fullmatch, [*self.users, *self.users.values()])):
            raise BrokerError(
                "Kafka's users need a name and a password each, of ASCII letters, digits and . _ ~ - alone."
            )


@dataclass(frozen=True, slots=True)
class Ports:
    """TCP ports on loopback, one for each listener; None where there is no such listener."""

    plaintext: int
    controller: int
    sasl_ssl: int | None = None
    ssl: int | None = None


def server_properties(ports: Ports, security: Security | None = None) -> str:
    """A single node, broker and controller in one process, that starts quickly and keeps all on one disk."""
    listeners = {"PLAINTEXT": ports.plaintext, "SASL_SSL": ports.sasl_ssl, "SSL": ports.ssl}
    addresses = [f"{name}://{HOST}:{port}" for name, port in listeners.items() if port is not None]
    properties = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{HOST}:{ports.controller}",
        "listeners": ",".join([*addresses, f"CONTROLLER://{HOST}:{ports.controller}"]),
        "advertised.listeners": ",".join(addresses),
        "listener.security.protocol.map": _PROTOCOLS,
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "log.dirs": DATA,
        # As most production clusters have it; a worker must not rely on topics that appear by themselves.
        "auto.create.topics.enable": "false",
        "min.insync.replicas": "1",
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "4",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "share.coordinator.state.topic.num.partitions": "4",
        "group.initial.rebalance.delay.ms": "0",
        # A broker that was killed is let in again only after its old session's end: 9 s by default.
        "broker.session.timeout.ms": "3000",
        "broker.heartbeat.interval.ms": "500",
        # 128 MB of the heap by default.
        "log.cleaner.dedupe.buffer.size": "4194304",
    }
    if security is not None:
        properties |= _security_properties(security)
    return "".join(f"{name}={value}\n" for name, value in properties.items())


def _security_properties(security: Security) -> dict[str, str]:
    logins = " ".join(f'user_{name}="{password}"' for name, password in security.users.items())
    plain = f"org.apache.kafka.common.security.plain.PlainLoginModule required {logins};"
    scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
    properties = {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": KEYSTORE,
        "sasl.enabled.mechanisms": ",".join(["PLAIN", *SCRAM_MECHANISMS]),
        "listener.name.sasl_ssl.plain.sasl.jaas.config": plain,
    }
    for mechanism in SCRAM_MECHANISMS:
        properties[f"listener.name.sasl_ssl.{mechanism.lower()}.sasl.jaas.config"] = scram
    if security.client_ca is not None:
        properties |= {
            "listener.name.ssl.ssl.client.auth": "required",
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": CLIENT_CA,
        }
    return properties
