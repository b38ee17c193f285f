"""What Apache Kafka runs on: Java, and its jars, which Maven fetches once into a cache folder."""

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

from filelock import FileLock, Timeout

from streamapp.errors import BrokerError
from streamapp.local.processes import ChildProcess

POM = Path(__file__).with_name("pom.xml")
CACHE = Path("~/.cache/streamapp/kafka")
MIN_JAVA = 17  # Kafka 4's brokers need it

_JAVA_TIMEOUT_S = 30
_FETCH_TIMEOUT_S = 600
_INSTALL_JAVA = (
    f"Install a Java {MIN_JAVA} runtime (Debian: apt install openjdk-{MIN_JAVA}-jre-headless, "
    f"macOS: brew install openjdk@{MIN_JAVA}) or set JAVA_HOME to one."
)
_INSTALL_MAVEN = "Install it (Debian: apt install maven, macOS: brew install maven)."


def kafka_version() -> str:
    """The version of Apache Kafka that the POM names."""
    names = {"pom": "http://maven.apache.org/POM/4.0.0"}
    version = ElementTree.parse(POM).findtext("pom:properties/pom:kafka.version", namespaces=names)
    assert version is not None
    return version


def find_java() -> str:
    """The `java` of JAVA_HOME, else the one on the PATH.

    Raises:
        BrokerError: there is none, it does not run, or it is too old; with what to install.
    """
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=str(Path(home, "bin")) if home else None)
    if java is None:
        where = f"in JAVA_HOME ({home})" if home else "on the PATH"
        raise BrokerError(
            f"Apache Kafka needs Java {MIN_JAVA} or later, and there is no java {where}. {_INSTALL_JAVA}"
        )
    version = _java_version(java)
    if version < MIN_JAVA:
        raise BrokerError(
            f"Apache Kafka needs Java {MIN_JAVA} or later, and {java} is version {version}. {_INSTALL_JAVA}"
        )
    return java


def fetch_jars(cache: Path | None = None, *, say: Callable[[str], None] = lambda _: None) -> Path:
    """The folder with Kafka's jars; Maven fetches them where they are not there yet.

    The folder's name is the POM's digest, and it appears whole or not at all. One process fetches at a time;
    the others wait, and find the jars.

    Args:
        cache: where the folder is or goes; None: `CACHE`.
        say: told before something that takes a while.

    Raises:
        BrokerError: there is no Maven, it could not fetch, or the cache can't be written.
    """
    cache = (CACHE if cache is None else cache).expanduser().absolute()
    folder = cache / hashlib.sha256(POM.read_bytes()).hexdigest()[:16]
    if folder.is_dir():
        return folder
    mvn = _find_maven()
    with _locked(cache, say):
        if not folder.is_dir():
            say(f"Maven fetches Apache Kafka {kafka_version()} to {cache}, this once (about 45 MB).")
            part = folder.with_suffix(".part")
            shutil.rmtree(part, ignore_errors=True)
            _copy_dependencies(mvn, part)
            part.rename(folder)
    return folder


def _java_version(java: str) -> int:
    """Java's feature version: 17 for ``17.0.15``, 8 for ``1.8.0_412``."""
    try:
        answer = subprocess.run(
            [java, "-version"], capture_output=True, text=True, errors="replace", timeout=_JAVA_TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise BrokerError(f"{java} does not run: {exc}. {_INSTALL_JAVA}") from exc
    match = re.search(r'version "(?:1\.)?(\d+)', answer.stderr)
    # macOS has a java of its own that only says where to get one.
    if answer.returncode or match is None:
        raise BrokerError(f"{java} does not run: {answer.stderr.strip()!r}. {_INSTALL_JAVA}")
    return int(match[1])


def _find_maven() -> str:
    mvn = shutil.which("mvn")
    if mvn is None:
        raise BrokerError(f"Maven fetches Apache Kafka, and there is no mvn on the PATH. {_INSTALL_MAVEN}")
    return mvn


@contextmanager
def _locked(cache: Path, say: Callable[[str], None]) -> Iterator[None]:
    lock = FileLock(cache / ".lock")
    try:
        cache.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            say(f"Another process is fetching Apache Kafka to {cache}; waiting for it.")
            lock.acquire(timeout=_FETCH_TIMEOUT_S + 30)
    except Timeout as exc:
        raise BrokerError(
            f"Another process has been fetching to {cache} for over {_FETCH_TIMEOUT_S} s: "
            "end it, and try again."
        ) from exc
    except OSError as exc:
        raise BrokerError(f"The folder {cache} for Apache Kafka's jars can't be written: {exc}.") from exc
    try:
        yield
    finally:
        lock.release()


def _copy_dependencies(mvn: str, folder: Path) -> None:
    """Have Maven copy all of the POM's dependencies, with theirs, to a folder.

    Raises:
        BrokerError: it failed or took too long; with its first error and where the rest is.
    """
    command = [mvn, "--batch-mode", "--no-transfer-progress", "--strict-checksums", "-Dstyle.color=never"]
    command += ["--file", str(POM), "dependency:copy-dependencies"]
    command += ["-DincludeScope=runtime", f"-DoutputDirectory={folder}"]
    log_file = folder.with_name("maven.log")
    with ChildProcess("Maven", command, log_file=log_file) as maven:
        code = maven.wait(_FETCH_TIMEOUT_S)
    if code == 0:
        return
    what = f"did not end within {_FETCH_TIMEOUT_S} s" if code is None else f"ended with exit code {code}"
    errors = (line for line in log_file.read_text(errors="replace").splitlines() if "[ERROR]" in line)
    error = next(errors, "").partition("[ERROR]")[2].strip()
    raise BrokerError(
        f"Maven could not fetch Apache Kafka: it {what}. {error[:500]}\nAll that it said is in {log_file}."
    )
