"""The cache on disk: ``<folder>/<artifact>/<file>``, and beside it a receipt of where the file came from.

Whoever writes holds `lock_cache`. A file appears whole or not at all, and what a transfer that broke
left behind has the suffix ``.part``: the next fetch of that artifact goes on with it or sweeps it away.
"""

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from filelock import FileLock, Timeout

from streamapp.errors import WeightsError
from streamapp.models.store.lock import Artifact

PART_SUFFIX = ".part"
LOCK_TIMEOUT_S = 1800.0
_ROOM_LEFT_BYTES = 64 * 2**20


class Receipt(msgspec.Struct, frozen=True):
    """What was fetched.

    Attributes:
        sha256: hex digest of the file in the cache.
        source: in words, ``s3://bucket/key``.
        source_sha256: hex digest of the bytes that came from there; another where they were converted.
    """

    sha256: str
    source: str
    source_sha256: str


def cached_path(cache: Path, artifact: Artifact) -> Path:
    """Where the artifact's file is or would be."""
    return cache.absolute() / artifact.name / artifact.file


def read_receipt(path: Path) -> Receipt | None:
    """The receipt of a cached file; None where there is none that can be read."""
    try:
        return msgspec.json.decode(_receipt_path(path).read_bytes(), type=Receipt)
    except (OSError, msgspec.MsgspecError):
        return None


def _receipt_path(path: Path) -> Path:
    return path.with_name(path.name + ".receipt.json")


@contextmanager
def lock_cache(cache: Path, say: Callable[[str], None], timeout_s: float = LOCK_TIMEOUT_S) -> Iterator[None]:
    """Let one process at a time write to the cache; the others wait, and find the file when they go on.

    Args:
        say: told once if another process is writing.

    Raises:
        WeightsError: the folder can't be written to, or the other process took longer than ``timeout_s``.
    """
    folder = cache.absolute()
    with translated_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    with translated_errors(folder):
        try:
            lock.acquire(timeout=0)
        except Timeout:
            say(f"Another process is fetching to {folder}; waiting for it.")
            _wait_for(lock, folder, timeout_s)
    try:
        yield
    finally:
        lock.release()


def _wait_for(lock: FileLock, folder: Path, timeout_s: float) -> None:
    try:
        lock.acquire(timeout=timeout_s)
    except Timeout as exc:
        raise WeightsError(
            f"Another process has been fetching to {folder} for {timeout_s:g} s: end it, and try again."
        ) from exc


def sweep_parts(folder: Path, keep: str | None = None) -> None:
    """Remove what broken transfers left in an artifact's folder, but for the part named ``keep``."""
    for path in folder.glob(f"*{PART_SUFFIX}"):
        if path.name == keep:
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def place(part: Path, target: Path, receipt: Receipt) -> None:
    """Make a complete, checked part the cached file: flush, rename, then write the receipt likewise.

    A crash between the two leaves a file without its receipt, which the next fetch mends.
    """
    _flush(part)
    os.replace(part, target)
    written = target.with_name(target.name + ".receipt" + PART_SUFFIX)
    written.write_bytes(msgspec.json.format(msgspec.json.encode(receipt)) + b"\n")
    _flush(written)
    os.replace(written, _receipt_path(target))
    _flush(target.parent)


def _flush(path: Path) -> None:
    """Bring a file, or a folder's entries, to the disk."""
    if os.name == "nt" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def require_room(folder: Path, missing_bytes: int) -> None:
    """Make sure that the disk can take so many more bytes.

    Raises:
        WeightsError: it can't.
    """
    free = shutil.disk_usage(folder).free
    if free < missing_bytes + _ROOM_LEFT_BYTES:
        raise WeightsError(
            f"The disk of {folder} has {free / 1e6:.0f} MB free, and {missing_bytes / 1e6:.0f} MB are to "
            "come: make room, or set STREAMAPP_MODEL_CACHE to another folder."
        )


@contextmanager
def translated_errors(folder: Path) -> Iterator[None]:
    """Turn what the file system refuses into one sentence.

    Raises:
        WeightsError: in place of an OSError.
    """
    try:
        yield
    except OSError as exc:
        if exc.errno in {errno.ENOSPC, errno.EDQUOT}:
            remedy = "make room, or set STREAMAPP_MODEL_CACHE to another folder"
        elif exc.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
            remedy = "let this user write there, or set STREAMAPP_MODEL_CACHE to another folder"
        else:
            remedy = "mend the folder, or set STREAMAPP_MODEL_CACHE to another one"
        raise WeightsError(
            f"The model cache {folder} can't be written to ({exc.strerror}): {remedy}."
        ) from exc
