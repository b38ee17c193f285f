"""Every setting of streamapp: one frozen object, read once at start.

Fields carry their type, their bound, their unit in the name, and one sentence on the trade-off. The
README's table is generated from them.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

Names = Annotated[tuple[str, ...], NoDecode]


class Settings(BaseSettings):
    """The settings of one worker or command."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", case_sensitive=False)

    # Kafka
    brokers: str = Field("127.0.0.1:9092", description="Kafka's bootstrap servers, host:port, comma-separated.")
    events_topic: str = Field("modify_user", description="Topic that the events are read from.")
    results_topic: str = Field(
        "content_moderation_profile-results_dev", description="Topic that the result rows are written to."
    )
    dead_letter_topic: str = Field(
        "modify_user-dead-letters", description="Topic for records that are no event."
    )
    group: str = Field(
        "streamapp", description="Consumer group; workers that share it share the partitions."
    )
    topic_partitions: int = Field(
        8, ge=1, description="Partitions of a topic that streamapp creates; no more workers than this can share the work."
    )
    topic_replication_factor: int = Field(
        1, ge=1, description="Replicas of a topic that streamapp creates; 3 in production."
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_SSL"] = Field(
        "PLAINTEXT", description="How the broker is reached; SASL always goes over TLS."
    )
    ssl_ca_file: Path | None = Field(None, description="CA certificates (PEM) that the broker's must chain to; empty: the system's.")
    ssl_cert_file: Path | None = Field(None, description="Client certificate (PEM) for mutual TLS.")
    ssl_key_file: Path | None = Field(None, description="Private key (PEM) of the client certificate.")
    ssl_key_password: SecretStr | None = Field(None, description="Password of the private key.")
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "SCRAM-SHA-512", description="SASL mechanism for SASL_SSL."
    )
    sasl_username: str | None = Field(None, description="SASL user name.")
    sasl_password: SecretStr | None = Field(None, description="SASL password.")
    session_timeout_s: float = Field(
        30.0, ge=1, description="Silence after which Kafka gives a worker's partitions to others; short: quick recovery, more rebalances."
    )
    rebalance_timeout_s: float = Field(
        30.0, ge=1, description="Time a worker has to finish what is in flight when partitions move."
    )

    # Flow
    events_in_flight: int = Field(
        128, ge=1, description="Events without an outcome in this worker; bounds memory. More fills batches better on slow links."
    )
    unacked_events: int = Field(
        4096, ge=1, description="Events that are done or in flight and not yet committed; bounds the repeats after a crash."
    )
    drain_timeout_s: float = Field(
        25.0, gt=0, description="Time to finish what is in flight on SIGTERM, then exit 75; the orchestrator's grace must be longer."
    )

    # Fetch
    downloads_in_flight: int = Field(64, ge=1, description="Downloads at the same time; more hides slow servers, costs sockets.")
    downloads_per_host: int = Field(32, ge=1, description="Connections to one host at the same time; keeps one slow CDN from taking all.")
    allow_private_hosts: Names = Field(
        (), description="Names or addresses, comma-separated, that may be reached though private, on any port. For local runs."
    )
    allowed_hosts: Names = Field(
        (), description="If set, only these hosts are fetched from, comma-separated; *.example.com matches subdomains. The strongest guard."
    )
    allowed_ports: Names = Field(("80", "443"), description="Ports that a URL may name, comma-separated.")
    max_redirects: int = Field(3, ge=0, le=20, description="Redirects that are followed, each one checked.")
    max_download_bytes: int = Field(
        20 * 2**20, ge=1, description="Largest file in bytes; counted while it streams in."
    )
    connect_timeout_s: float = Field(5.0, gt=0, description="Time to connect, name resolution included.")
    read_timeout_s: float = Field(10.0, gt=0, description="Longest silence of a server.")
    download_timeout_s: float = Field(20.0, gt=0, description="Time for one attempt as a whole.")
    download_attempts: int = Field(4, ge=1, description="Attempts for errors that can pass; a bad URL, 403 or 404 gets one.")
    retry_base_s: float = Field(1.0, ge=0, description="Mean wait before the second attempt; doubles each time, with jitter.")
    retry_max_s: float = Field(20.0, ge=0, description="Longest wait between attempts, also for a server's Retry-After.")

    # Decode
    decode_threads: int = Field(2, ge=1, description="Threads that decode pictures and prepare them for the models.")
    max_pixels: int = Field(
        64_000_000, ge=1, description="Most pixels (width × height) of a picture or of an animation's canvas."
    )
    frame_side_px: int = Field(
        1280, ge=64, description="Longer side to which frames are scaled down before the models see them; bounds memory."
    )
    max_key_frames: int = Field(8, ge=1, description="Most key frames that are taken from an animation.")
    max_media_seconds: float = Field(60.0, gt=0, description="Length of an animation that is looked at.")

    # Models
    models: Names = Field(("nudenet",), description="Models that are on, comma-separated.")
    model_version: str = Field("1.0.0", description="MODEL_VERSION of the rows; change it with any weights or policy.")
    model_cache: Path = Field(
        Path("~/.cache/streamapp"), description="Folder for fetched model files."
    )
    model_timeout_s: float = Field(
        60.0, gt=0, description="Longest time for one batch; a model that hangs longer ends the worker."
    )
    batch_wait_s: float = Field(
        0.01, ge=0, description="Longest time a frame waits for others to fill its batch; more throughput, more latency."
    )
    ai_model_bucket: str | None = Field(None, description="S3 bucket with the models.")
    nudenet_weights: Path | None = Field(None, description="NudeNet's ONNX file; empty: the one in the nudenet package.")
    nudenet_channel_order: Literal["rgb", "package"] = Field(
        "rgb", description="Channel order of NudeNet's input; package: as the nudenet package feeds it (BGR)."
    )
    nudenet_instances: int = Field(1, ge=1, description="Instances of NudeNet in the worker.")
    nudenet_threads: int = Field(2, ge=1, description="CPU threads of each NudeNet instance.")
    nudenet_queue: int = Field(64, ge=1, description="Frames queued for NudeNet before submitters wait.")

    # Operation
    web_port: int = Field(6066, ge=0, le=65535, description="Port of the worker's pages, on loopback unless web_host says otherwise.")
    web_host: str = Field("127.0.0.1", description="Address that the worker's pages listen on.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least severe log record that is written.")
