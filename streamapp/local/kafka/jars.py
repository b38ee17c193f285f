"""What Apache Kafka runs on: Java, and its jars, which Maven fetches once into a cache folder."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

from streamapp.errors import BrokerError
from streamapp.local.maven import fetch_dependencies

POM = Path(__file__).with_name("pom.xml")
CACHE = Path("~/.cache/streamapp/kafka")
MIN_JAVA = 17  # Kafka 4's brokers need it

_JAVA_TIMEOUT_S = 30
_INSTALL_JAVA = (
    f"Install a Java {MIN_JAVA} runtime (Debian: apt install openjdk-{MIN_JAVA}-jre-headless, "
    f"macOS: brew install openjdk@{MIN_JAVA}) or set JAVA_HOME to one."
)


def kafka_version() -> str:
    """The version of Apache Kafka that the POM names."""
    version = ElementTree.parse(POM).findtext("{*}properties/{*}kafka.version")
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

    Args:
        cache: where the folder is or goes; None: `CACHE`.
        say: told before something that takes a while.

    Raises:
        BrokerError: as `fetch_dependencies`.
    """
    what = f"Apache Kafka {kafka_version()}"
    return fetch_dependencies(POM, CACHE if cache is None else cache, what, size_mb=45, say=say)


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
