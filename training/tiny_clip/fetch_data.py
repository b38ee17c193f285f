"""Bring the pinned packages into the data folder: pack with npm, check the digest, unpack what is used."""

import hashlib
import subprocess
import tarfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from training.tiny_clip.sources import PACKAGES, Package

PACK_TIMEOUT_S = 300


def archive_path(data: Path, package: Package) -> Path:
    """Where the packed archive lies."""
    return data / "packages" / package.archive_name


def package_folder(data: Path, package: Package) -> Path:
    """Where the archive's ``package/`` folder is unpacked to."""
    return data / "unpacked" / package.key / "package"


def fetch_all(data: Path, say: Callable[[str], None]) -> None:
    """Fetch and unpack every package that is not there yet.

    Raises:
        ValueError: an archive's digest is not the pinned one.
        RuntimeError: npm could not pack a package.
    """
    (data / "packages").mkdir(parents=True, exist_ok=True)
    for package in PACKAGES:
        archive = archive_path(data, package)
        if not archive.exists():
            say(f"fetching {package.name} {package.version}")
            _pack(package, archive.parent)
        _check_digest(package, archive)
        if not package_folder(data, package).exists():
            _unpack(package, archive, data / "unpacked" / package.key)
    say(f"{len(PACKAGES)} packages fetched and checked in {data}")


def _pack(package: Package, folder: Path) -> None:
    command = ["npm", "pack", "--silent", f"{package.name}@{package.version}"]
    result = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=PACK_TIMEOUT_S, check=False
    )
    if result.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed ({result.returncode}): {result.stderr.strip()}")


def _check_digest(package: Package, archive: Path) -> None:
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != package.sha256:
        raise ValueError(
            f"{archive} has sha256 {found}, expected {package.sha256}: delete it and fetch again, "
            f"or pin the new digest in sources.py after looking at what changed."
        )


def _unpack(package: Package, archive: Path, folder: Path) -> None:
    """Unpack beside the final place and rename, so that a broken run leaves no half-filled folder."""
    part = folder.with_name(folder.name + ".part")
    with tarfile.open(archive) as tar:
        tar.extractall(part, members=_wanted(tar, package.members), filter="data")
    part.rename(folder)


def _wanted(tar: Iterable[tarfile.TarInfo], members: tuple[str, ...]) -> Iterator[tarfile.TarInfo]:
    folders = tuple(member for member in members if member.endswith("/"))
    return (info for info in tar if info.name in members or (folders and info.name.startswith(folders)))
