"""`Store`: locate, fetch and look at artifacts, by the settings."""

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from streamapp.errors import WeightsError
from streamapp.models.store.cache import cached_path, lock_cache, read_receipt
from streamapp.models.store.locating import locate_artifact
from streamapp.models.store.lock import Artifact, find_artifact
from streamapp.models.weights import WeightsFile, package_file
from streamapp.settings import Settings

logger = logging.getLogger(__name__)


class State(StrEnum):
    """How an artifact stands."""

    HERE = "here"
    MISSING = "missing"
    WRONG = "wrong digest"


@dataclass(frozen=True, slots=True)
class Standing:
    """One artifact, and how it stands here.

    Attributes:
        path: where it is, or where it would be.
        source: where it came from, or would come from; in words.
        problem: why it can't be used; empty if it can.
        sha256: hex digest of the file that can be used; else None.
        size: bytes of the file that is there; else what the lock file says, None where it does not.
    """

    artifact: Artifact
    state: State
    path: Path | None
    source: str
    problem: str
    sha256: str | None
    size: int | None


class Store:
    """The artifacts of one deployment.

    Args:
        settings: the user's own paths, the cache, the bucket and its prefix.
        pause: waits for so many seconds, between two tries of a transfer.
    """

    def __init__(self, settings: Settings, *, pause: Callable[[float], None] = time.sleep) -> None:
        self._settings = settings
        self._pause = pause

    def locate(self, name: str) -> WeightsFile:
        """Find an artifact's file and check its digest; never goes to the network.

        Raises:
            WeightsError: in one sentence which file, where it was looked for, and which command fetches it.
        """
        artifact = find_artifact(name)
        return locate_artifact(
            artifact,
            own=self._own_path(artifact),
            own_sha256=self._own_sha256(artifact),
            cache=self._settings.model_cache,
        )

    def require(self, names: Iterable[str]) -> None:
        """Make sure that files are there, before any of them is read.

        Raises:
            WeightsError: names every one that is missing, where it was looked for, and what to do.
        """
        paths = {name: self.path(name) for name in names}
        missing = {name: path for name, path in paths.items() if path is None or not path.exists()}
        if len(missing) == 1:
            (only,) = missing
            self.locate(only)
        elif missing:
            places = ", ".join(str(path or f"the package of {name}") for name, path in missing.items())
            raise WeightsError(
                f"{len(missing)} model files are missing, they were looked for at {places}: "
                "run `streamapp models fetch`, or leave the models that need them out of STREAMAPP_MODELS."
            )

    def fetch(
        self,
        name: str,
        progress: Callable[[int, int | None], None] = lambda done, total: None,
        say: Callable[[str], None] = logger.warning,
    ) -> WeightsFile:
        """Locate an artifact, and bring it into the cache first if it is not there or is another file.

        Args:
            progress: called with the bytes that are there and that there will be; None: not known.
            say: told that a file is replaced, and that another process is waited for.

        Raises:
            WeightsError: it can't be had; a path of the user's and a package's file are never replaced.
        """
        artifact = find_artifact(name)
        if artifact.package is not None or self._own_path(artifact) is not None:
            return self.locate(name)
        try:
            return self.locate(name)
        except WeightsError as exc:
            if cached_path(self._settings.model_cache, artifact).exists():
                say(str(exc))
        # Only here, so that a worker does not import boto3 and the hub's client to find a file.
        from streamapp.models.store.fetching import Fetcher

        fetcher = Fetcher(artifact, self._settings, self._own_sha256(artifact), progress, self._pause)
        with lock_cache(self._settings.model_cache, say):
            try:
                return self.locate(name)  # fetched by another process meanwhile
            except WeightsError:
                fetcher.fetch()
        return self.locate(name)

    def look(self, name: str) -> Standing:
        """Say how an artifact stands, with its digest checked."""
        artifact = find_artifact(name)
        path = self.path(name)
        size = _size(path)
        sha256, problem, state = None, "", State.HERE
        try:
            sha256 = self.locate(name).sha256
        except WeightsError as exc:
            problem = str(exc)
            state = State.MISSING if size is None else State.WRONG
        source = self._source(artifact, is_here=size is not None)
        known_size = artifact.hub.size if artifact.hub else artifact.size
        return Standing(artifact, state, path, source, problem, sha256, known_size if size is None else size)

    def path(self, name: str) -> Path | None:
        """Where an artifact's file is looked for, there or not; None: its package is not installed."""
        artifact = find_artifact(name)
        own = self._own_path(artifact)
        if own is not None:
            return own.absolute()
        if artifact.package is None:
            return cached_path(self._settings.model_cache, artifact)
        try:
            return package_file(artifact.package.package, artifact.package.path, how_to_get="")
        except WeightsError:
            return None

    def _source(self, artifact: Artifact, *, is_here: bool) -> str:
        """Where the file that is here came from, or else the first place it would come from."""
        if self._own_path(artifact) is not None:
            return "your own path"
        if artifact.package is not None:
            return f"package {artifact.package.requirement}"
        receipt = read_receipt(cached_path(self._settings.model_cache, artifact))
        if is_here and receipt is not None:
            return receipt.source
        if is_here:
            return "put there by hand"
        if artifact.bucket is not None and self._settings.ai_model_bucket:
            return f"bucket {self._settings.ai_model_bucket}"
        if artifact.hub is not None:
            return f"hub {artifact.hub.repo}"
        if artifact.wheel is not None:
            return f"wheel {artifact.wheel.requirement}"
        return "the bucket AiModelBucket"

    def _own_path(self, artifact: Artifact) -> Path | None:
        """The setting with the user's own file; a setting that this version lacks counts as empty."""
        value = getattr(self._settings, artifact.setting, None) if artifact.setting else None
        return value if isinstance(value, Path) else None

    def _own_sha256(self, artifact: Artifact) -> str | None:
        value = getattr(self._settings, artifact.sha256_setting, None) if artifact.sha256_setting else None
        return value if isinstance(value, str) else None


def _size(path: Path | None) -> int | None:
    try:
        return None if path is None else path.stat().st_size
    except OSError:
        return None
