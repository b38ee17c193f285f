"""The settings of the models: a part of `Settings`."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, Field

from streamapp.settings.checks import lower
from streamapp.settings.kinds import Device, Digest, Location, ModelNames, Text


class ModelSettings(BaseModel):
    """Which models are on, their weights, instances, threads and devices."""

    models: ModelNames = Field(
        default=("nudenet", "mfd", "clip", "coop"),
        description="Models that are on, comma-separated; nudenet alone needs no fetched files.",
    )
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
    nudenet_instances: int = Field(
        default=2,
        ge=1,
        description="Instances of NudeNet in the worker; on a CPU, one with one thread for each core.",
    )
    nudenet_threads: int = Field(default=1, ge=1, description="CPU threads of each NudeNet instance.")
    nudenet_device: Device = Field(
        default="auto",
        description="Device of NudeNet: auto (CUDA if onnxruntime and machine have it), or strictly cpu, "
        "cuda, cuda:N.",
    )
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
    mfd_device: Device = Field(default="auto", description="Device of MFD, as nudenet_device.")
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
