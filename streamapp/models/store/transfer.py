"""One transfer, from wherever: it goes on where it broke, also in another process on another day.

huggingface_hub's own download begins anew after a crash in its newer releases (its issue 4196), so the
hub goes through here like the bucket.
"""

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from streamapp.errors import WeightsError
from streamapp.models.store.cache import PART_SUFFIX, require_room, sweep_parts

Progress = Callable[[int, int | None], None]
"""Called with the bytes that are there and the bytes that there will be; None: not known."""

CHUNK_BYTES = 2**20
ATTEMPTS = 4
_MAX_PAUSE_S = 20.0


class AbsentError(Exception):
    """The source does not have the file, so that the next one is asked."""


class BrokenTransferError(Exception):
    """The transfer broke in a way that can pass."""


class ChangedError(Exception):
    """The file at the source is another one since the transfer began."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file at its source.

    Attributes:
        size: bytes.
        version: changes when the bytes change; parts of two versions are never put together.
    """

    size: int
    version: str


@dataclass(frozen=True, slots=True)
class Stream:
    """Bytes on their way.

    Attributes:
        offset: of the first one in the file: the one asked for, or 0 where the server knows no ranges.
        chunks: the bytes from there on.
    """

    offset: int
    chunks: Iterator[bytes]


class Remote(Protocol):
    """Where a file can be transferred from.

    All of it raises AbsentError, BrokenTransferError, ChangedError, or WeightsError where another try
    would not help.
    """

    @property
    def place(self) -> str:
        """In words, ``s3://bucket/key``."""

    def look(self) -> RemoteFile:
        """Ask what is there."""

    def open(self, offset: int, version: str) -> AbstractContextManager[Stream]:
        """Begin to read that version at that offset."""


def transfer(
    remote: Remote,
    target: Path,
    progress: Progress,
    *,
    attempts: int = ATTEMPTS,
    pause: Callable[[float], None] = time.sleep,
) -> Path:
    """Bring a file to a part beside its target; a part of the same version is gone on with.

    Args:
        target: the file that the part is to become; its folder exists and is locked.
        attempts: tries in a row that bring no byte.
        pause: waits for so many seconds.

    Returns:
        The complete part, of the size that the source told; its digest is not checked yet.

    Raises:
        AbsentError: the source has no such file.
        WeightsError: the transfer keeps breaking, or the source refuses.
    """
    failures = 0
    while True:
        before = 0
        part = None
        try:
            file = remote.look()
            part = _part_path(target, remote, file)
            sweep_parts(target.parent, keep=part.name)
            before = _size(part)
            _receive(remote, file, part, progress)
            return part
        except (BrokenTransferError, ChangedError) as exc:
            has_gained = part is not None and _size(part) > before
            failures = 1 if has_gained else failures + 1
            if failures >= attempts:
                raise WeightsError(
                    f"{remote.place} can't be fetched, {attempts} tries in a row broke ({exc}): try again; "
                    "what has come is kept."
                ) from exc
            pause(min(2.0 ** (failures - 1), _MAX_PAUSE_S))


def _part_path(target: Path, remote: Remote, file: RemoteFile) -> Path:
    """The part's name holds its source and version, so that another's is never gone on with."""
    tag = hashlib.sha256(f"{remote.place}\n{file.version}\n{file.size}".encode()).hexdigest()[:12]
    return target.with_name(f"{target.name}.{tag}{PART_SUFFIX}")


def _receive(remote: Remote, file: RemoteFile, part: Path, progress: Progress) -> None:
    """Fill the part up to the file's size."""
    if _size(part) > file.size:
        part.unlink()
    require_room(part.parent, file.size - _size(part))
    with part.open("ab") as out:
        done = out.tell()
        progress(done, file.size)
        if done == file.size:
            return
        with remote.open(done, file.version) as stream:
            if stream.offset != done:
                out.truncate(stream.offset)
                done = stream.offset
            for chunk in stream.chunks:
                done += len(chunk)
                if done > file.size:
                    raise BrokenTransferError(f"more than the file's {file.size} bytes come")
                out.write(chunk)
                progress(done, file.size)
    if done != file.size:
        raise BrokenTransferError(f"{done} of {file.size} bytes came")


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0
