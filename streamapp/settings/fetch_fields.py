"""The settings of fetching and decoding: a part of `Settings`."""

from pydantic import BaseModel, Field

from streamapp.settings.kinds import Names, Ports


class FetchSettings(BaseModel):
    """What may be fetched, how patiently, and what is decoded of it."""

    downloads_in_flight: int = Field(
        default=64, ge=1, description="Downloads at the same time; more hides slow servers, costs sockets."
    )
    downloads_per_host: int = Field(
        default=32, ge=1, description="Connections to one host at the same time; leaves room to other hosts."
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
    blocked_hosts: Names = Field(
        default=(),
        description="Hosts that are never fetched from, comma-separated; *.example.com matches subdomains. "
        "Wins over every other list.",
    )
    patient_hosts: Names = Field(
        default=(),
        description="Hosts, such as your own CDN, whose events wait out an outage instead of failing at "
        "once; *.example.com matches subdomains. The allowed_hosts are among them: name your CDN in one of "
        "both. All other hosts then share half of the downloads.",
    )
    s3_buckets: Names = Field(
        default=(),
        description="Buckets that s3:// URLs may name, read with the worker's AWS credentials; "
        "empty: s3:// is refused.",
    )
    allowed_ports: Ports = Field(
        default=("80", "443"), description="Ports that a URL may name, comma-separated."
    )
    requests_per_host_per_s: float | None = Field(
        default=None, gt=0, description="Most requests to one host in a second; not set: no limit."
    )
    breaker_failures: int = Field(
        default=10, ge=1, description="Failures in a row after which a host is not asked for a while."
    )
    breaker_open_s: float = Field(
        default=30.0, gt=0, description="How long such a host is left alone before one request probes it."
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
        "Time in which the models have no room does not count. Short: a slow host holds up the worker less.",
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

    decode_threads: int = Field(
        default=2, ge=1, description="Threads that decode pictures and prepare them for the models."
    )
    decode_timeout_s: float = Field(
        default=20.0, gt=0, description="Time for decoding one file; a decoder that takes longer is killed."
    )
    decode_memory_mb: int = Field(
        default=2048,
        ge=512,
        description="Address space of one decoder process; a file that needs more is refused. MAX_PIXELS "
        "needs 14 bytes a pixel.",
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
    trim_letterbox: bool = Field(
        default=False,
        description="Cut off black or white bars around a frame before the models see it.",
    )
