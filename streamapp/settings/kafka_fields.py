"""The settings of the broker link, the topics and the flow: a part of `Settings`."""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, Field, SecretStr

from streamapp.settings.checks import upper
from streamapp.settings.kinds import Brokers, Location, Text, Topic


class KafkaSettings(BaseModel):
    """How the broker is reached, which topics are used, how many events are taken."""

    brokers: Brokers = Field(
        default="127.0.0.1:9092", description="Kafka's bootstrap servers, host:port, comma-separated."
    )
    events_topic: Topic = Field(default="modify_user", description="Topic that the events are read from.")
    results_topic: Topic = Field(
        default="content_moderation_profile-results_dev",
        description="Topic that the result rows are written to.",
    )
    dead_letter_topic: Topic = Field(
        default="modify_user-dead-letters", description="Topic for records that are no event."
    )
    group: Text = Field(
        default="streamapp", description="Consumer group; workers that share it share the partitions."
    )
    topic_partitions: int = Field(
        default=8,
        ge=1,
        description="Partitions of a topic that streamapp creates; at most this many workers share the work.",
    )
    topic_replication_factor: int = Field(
        default=1, ge=1, description="Replicas of a topic that streamapp creates; 3 in production."
    )
    security_protocol: Annotated[Literal["PLAINTEXT", "SSL", "SASL_SSL"], BeforeValidator(upper)] = Field(
        default="PLAINTEXT", description="How the broker is reached; SASL always goes over TLS."
    )
    ssl_ca_file: Location | None = Field(
        default=None,
        description="CA certificates (PEM) that the broker's must chain to; empty: the system's.",
    )
    ssl_cert_file: Location | None = Field(
        default=None, description="Client certificate (PEM) for mutual TLS; needs the key file."
    )
    ssl_key_file: Location | None = Field(
        default=None, description="Private key (PEM) of the client certificate."
    )
    ssl_key_password: SecretStr | None = Field(default=None, description="Password of the private key.")
    sasl_mechanism: Annotated[Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"], BeforeValidator(upper)] = (
        Field(default="SCRAM-SHA-512", description="SASL mechanism for SASL_SSL.")
    )
    sasl_username: str | None = Field(default=None, description="SASL user name.")
    sasl_password: SecretStr | None = Field(default=None, description="SASL password.")
    session_timeout_s: float = Field(
        default=30.0,
        ge=3,
        le=600,
        description="Silence after which Kafka gives a worker's partitions to others; "
        "short: quick recovery, more rebalances.",
    )
    rebalance_timeout_s: float = Field(
        default=30.0, ge=1, description="Time a worker has to finish what is in flight when partitions move."
    )

    events_in_flight: int = Field(
        default=2048,
        ge=1,
        description="Events without an outcome in this worker. Most of them wait for slow servers and cost "
        "little; fewer: a crowd of slow URLs holds up the others.",
    )
    pictures_in_flight: int = Field(
        default=128,
        ge=1,
        description="Pictures that are downloaded and not yet judged; bounds memory. "
        "More fills batches better on a GPU.",
    )
    unacked_events: int = Field(
        default=16384,
        ge=1,
        description="Events done or in flight and not yet committed; bounds the repeats after a crash.",
    )
    drain_timeout_s: float = Field(
        default=25.0,
        gt=0,
        description="Time to finish what is in flight on SIGTERM, then exit 75; "
        "the orchestrator's grace must be longer.",
    )
    connect_url: Annotated[str, Field(pattern=r"^https?://[^\s/]+(/\S*)?$")] = Field(
        default="http://127.0.0.1:8083", description="Kafka Connect's REST API, for `streamapp connect`."
    )
    warehouse_url: SecretStr | None = Field(
        default=None,
        description="The local warehouse for `streamapp warehouse`, postgresql://user@host:port/database; "
        "the password in it or in PGPASSWORD. Empty: user streamapp, database warehouse on 127.0.0.1:5432.",
    )
