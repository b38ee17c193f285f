"""The fields: type, bound, unit in the name, and one sentence on the trade-off.

`streamapp settings` and the README's table are made from them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

from streamapp.settings.checks import (
    check_brokers,
    check_models,
    check_ports,
    check_topic,
    expand_home,
    lower,
    split_names,
    upper,
)

Names = Annotated[tuple[str, ...], BeforeValidator(split_names)]
Ports = Annotated[Names, AfterValidator(check_ports)]
ModelNames = Annotated[Names, AfterValidator(check_models)]
Brokers = Annotated[str, AfterValidator(check_brokers)]
Topic = Annotated[str, AfterValidator(check_topic)]
Text = Annotated[str, Field(min_length=1)]
Digest = Annotated[str, BeforeValidator(lower), Field(pattern="^[0-9a-f]{64}$")]
Location = Annotated[Path, AfterValidator(expand_home)]
Device = Annotated[str, BeforeValidator(lower), Field(pattern=r"^(auto|cpu|cuda(:[0-9]{1,2})?)$")]


@dataclass(frozen=True, slots=True)
class Conflict:
    """Fields that are each fine and do not go together."""

    fields: tuple[str, ...]
    message: str


class ConflictError(ValueError):
    """Carries every `Conflict` through pydantic's validation."""

    def __init__(self, conflicts: tuple[Conflict, ...]) -> None:
        super().__init__("; ".join(f"{', '.join(c.fields)}: {c.message}" for c in conflicts))
        self.conflicts = conflicts


class Settings(BaseModel):
    """The settings of one worker or command; `load_settings` fills it from the environment.

    Built directly, it takes its values from the arguments alone and raises pydantic's own error.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False, hide_input_in_errors=True
    )

    # Kafka
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

    # Flow
    events_in_flight: int = Field(
        default=128,
        ge=1,
        description="Events without an outcome in this worker; bounds memory. "
        "More fills batches better on slow links.",
    )
    unacked_events: int = Field(
        default=4096,
        ge=1,
        description="Events done or in flight and not yet committed; bounds the repeats after a crash.",
    )
    drain_timeout_s: float = Field(
        default=25.0,
        gt=0,
        description="Time to finish what is in flight on SIGTERM, then exit 75; "
        "the orchestrator's grace must be longer.",
    )

    # Fetch
    downloads_in_flight: int = Field(
        default=64, ge=1, description="Downloads at the same time; more hides slow servers, costs sockets."
    )
    downloads_per_host: int = Field(
        default=32,
        ge=1,
        description="Connections to one host at the same time; leaves sockets to other hosts. A slow host's "
        "events still count in events_in_flight, and can fill it.",
    )
    allow_private_hosts: Names = Field(
        default=(),
        description="Names or addresses, comma-separated, that may be reached though private, on any port. "
        "For local runs.",
    )
    allowed_hosts: Names = Field(
        default=(),
        description="If set, only these hosts are fetched from, comma-separated; *.example.com matches "
        "subdomains. The strongest guard.",
    )
    allowed_ports: Ports = Field(
        default=("80", "443"), description="Ports that a URL may name, comma-separated."
    )
    max_redirects: int = Field(
        default=3, ge=0, le=20, description="Redirects that are followed, each one checked."
    )
    max_download_bytes: int = Field(
        default=20 * 2**20, ge=1, description="Largest file in bytes; counted while it streams in."
    )
    connect_timeout_s: float = Field(
        default=5.0, gt=0, description="Time to connect, name resolution included."
    )
    read_timeout_s: float = Field(default=10.0, gt=0, description="Longest silence of a server.")
    download_timeout_s: float = Field(default=20.0, gt=0, description="Time for one attempt as a whole.")
    fetch_deadline_s: float = Field(
        default=60.0,
        gt=0,
        description="Time for a file as a whole: attempts, waits for a connection, waits between attempts. "
        "Short: a slow host holds up the worker for less long.",
    )
    download_attempts: int = Field(
        default=4, ge=1, description="Attempts for errors that can pass; a bad URL, 403 or 404 gets one."
    )
    retry_base_s: float = Field(
        default=1.0, ge=0, description="Mean wait before the second attempt; doubles each time, with jitter."
    )
    retry_max_s: float = Field(
        default=20.0, ge=0, description="Longest wait between attempts, also for a server's Retry-After."
    )

    # Decode
    decode_threads: int = Field(
        default=2, ge=1, description="Threads that decode pictures and prepare them for the models."
    )
    max_pixels: int = Field(
        default=64_000_000,
        ge=1,
        description="Most pixels (width times height) of a picture or an animation's canvas.",
    )
    frame_side_px: int = Field(
        default=1280,
        ge=64,
        description="Longer side to which frames are scaled down before the models see them; bounds memory.",
    )
    max_key_frames: int = Field(
        default=8, ge=1, description="Most key frames that are taken from an animation."
    )
    max_media_seconds: float = Field(
        default=60.0,
        gt=0,
        description="Length of an animation that is looked at, if it has more than max_key_frames different "
        "frames; never more than 3000 frames.",
    )

    # Models
    models: ModelNames = Field(default=("nudenet",), description="Models that are on, comma-separated.")
    model_version: Text = Field(
        default="1.0.0", description="MODEL_VERSION of the rows; change it with any weights or policy."
    )
    policy_file: Location | None = Field(
        default=None, description="Policy file (YAML); empty: the one in the package."
    )
    model_cache: Location = Field(
        default=Path("~/.cache/streamapp"), description="Folder for fetched model files."
    )
    model_timeout_s: float = Field(
        default=60.0,
        gt=0,
        description="Longest time for one batch; a model that hangs longer ends the worker.",
    )
    batch_wait_s: float = Field(
        default=0.01,
        ge=0,
        description="Longest time a frame waits for others to fill its batch; more throughput, more latency.",
    )
    ai_model_bucket: str | None = Field(default=None, description="S3 bucket with the models.")
    model_prefix: Text = Field(
        default="data_science/ai_model_files/content-moderation-tagging/version_4/",
        description="What the models' keys in the bucket begin with; / for nothing.",
    )
    nudenet_weights: Location | None = Field(
        default=None, description="NudeNet's ONNX file; empty: the one in the nudenet package."
    )
    nudenet_channel_order: Annotated[Literal["rgb", "package"], BeforeValidator(lower)] = Field(
        default="rgb",
        description="Channel order of NudeNet's input; package: as the nudenet package feeds it (BGR).",
    )
    nudenet_instances: int = Field(default=1, ge=1, description="Instances of NudeNet in the worker.")
    nudenet_threads: int = Field(default=2, ge=1, description="CPU threads of each NudeNet instance.")
    nudenet_queue: int = Field(
        default=64, ge=1, description="Frames queued for NudeNet before submitters wait."
    )
    mfd_palm_weights: Location | None = Field(
        default=None, description="MFD's palm detector (tflite); empty: the fetched one."
    )
    mfd_landmark_weights: Location | None = Field(
        default=None, description="MFD's hand landmark model (tflite); empty: the fetched one."
    )
    mfd_instances: int = Field(
        default=1, ge=1, description="Instances of MFD in the worker; takes effect when MFD is on."
    )
    mfd_threads: int = Field(
        default=2, ge=1, description="CPU threads of each MFD instance; takes effect when MFD is on."
    )
    mfd_queue: int = Field(
        default=64,
        ge=1,
        description="Frames queued for MFD before submitters wait; takes effect when MFD is on.",
    )
    clip_model: Text = Field(
        default="ViT-B-16",
        description="CLIP's network by open_clip's name, with OpenAI's weights; ViT-B-16/<tag> for others of "
        "open_clip's, /none for your own; tiny: the small one in the package, for demos.",
    )
    clip_weights: Location | None = Field(
        default=None, description="CLIP's weights (safetensors or a state_dict); empty: the fetched ones."
    )
    clip_precision: Annotated[Literal["auto", "fp32", "bf16", "fp16"], BeforeValidator(lower)] = Field(
        default="auto",
        description="Precision of CLIP's and CoOp's image tower; auto: the fastest here that agrees with "
        "fp32, measured at start.",
    )
    coop_model: Text = Field(
        default="ViT-B-16",
        description="The CLIP that CoOp's weights were trained on, as in clip_model; the same one "
        "runs once for both.",
    )
    coop_clip_weights: Location | None = Field(
        default=None,
        description="Weights of coop_model; empty: clip_weights if the models are the same, else the fetched "
        "ones.",
    )
    coop_weights: Location | None = Field(
        default=None,
        description="CoOp's weights: a checkpoint (model.pth.tar-N) or an export (safetensors); empty: the "
        "fetched ones, or zero-shot where there is no bucket.",
    )
    coop_sha256: Digest | None = Field(
        default=None,
        description="SHA-256 that CoOp's weights must have; empty: that of each machine's first fetch.",
    )
    clip_instances: int = Field(
        default=1, ge=1, description="Batches of CLIP and CoOp at the same time; they share the weights."
    )
    clip_threads: int = Field(default=2, ge=1, description="CPU threads of each CLIP instance.")
    clip_queue: int = Field(
        default=64,
        ge=1,
        description="Frames queued for CLIP and CoOp before submitters wait.",
    )
    clip_gpu_share: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Share of the GPU's memory that a CLIP instance may take; 0: CPU. Without a CUDA device "
        "the CPU, with a warning.",
    )
    clip_device: Device | None = Field(
        default=None,
        description="Device of CLIP and CoOp: auto, or strictly cpu, cuda or cuda:N, without which no worker "
        "starts; empty: as clip_gpu_share says.",
    )

    # Operation
    web_port: int = Field(
        default=6066,
        ge=0,
        le=65535,
        description="Port of the worker's pages, on loopback unless web_host says otherwise.",
    )
    web_host: Text = Field(default="127.0.0.1", description="Address that the worker's pages listen on.")
    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(upper)] = Field(
        default="INFO", description="Least severe log record that is written."
    )

    @model_validator(mode="after")
    def _refuse_conflicts(self) -> Self:
        conflicts = tuple(self._conflicts())
        if conflicts:
            raise ConflictError(conflicts)
        return self

    def _conflicts(self) -> Iterator[Conflict]:
        """Every pair of settings that do not go together."""
        if self.security_protocol == "SASL_SSL":
            for name in ("sasl_username", "sasl_password"):
                if getattr(self, name) is None:
                    yield Conflict(("security_protocol", name), "SASL_SSL needs a user name and a password")
        if (self.ssl_cert_file is None) != (self.ssl_key_file is None):
            yield Conflict(("ssl_cert_file", "ssl_key_file"), "a client certificate needs both files")
        topics = ("events_topic", "results_topic", "dead_letter_topic")
        for index, first in enumerate(topics):
            for second in topics[index + 1 :]:
                if getattr(self, first) == getattr(self, second):
                    yield Conflict(
                        (first, second), f"both are {getattr(self, first)!r}; each topic needs its own name"
                    )
