"""Java programs' jars: Maven copies a POM's dependencies into a cache folder, once."""

import hashlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from streamapp.errors import BrokerError
from streamapp.local.processes import ChildProcess

# Named in the command, so that Maven's own default (another one in each release) is never taken.
COPY_DEPENDENCIES = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"

_FETCH_TIMEOUT_S = 600
_INSTALL_MAVEN = "Install it (Debian: apt install maven, macOS: brew install maven)."


def fetch_dependencies(
    pom: Path, cache: Path, what: str, size_mb: int, *, say: Callable[[str], None] = lambda _: None
) -> Path:
    """The folder with the jars of a POM's dependencies and theirs; Maven fetches them where it is not there.

    The folder's name is the POM's digest, and it appears whole or not at all. One process fetches at a time;
    the others wait, and find the jars.

    Args:
        pom: their POM.
        cache: where the folder is or goes.
        what: they make up, for messages: ``Apache Kafka 4.3.1``.
        size_mb: what is fetched, about, for messages.
        say: told before something that takes a while.

    Raises:
        BrokerError: there is no Maven, it could not fetch, or the cache can't be written.
    """
    cache = cache.expanduser().absolute()
    folder = cache / hashlib.sha256(pom.read_bytes()).hexdigest()[:16]
    if folder.is_dir():
        return folder
    mvn = _find_maven(what)
    with _locked(cache, what, say):
        if not folder.is_dir():
            say(f"Maven fetches {what} to {cache}, this once (about {size_mb} MB).")
            part = folder.with_suffix(".part")
            shutil.rmtree(part, ignore_errors=True)
            _copy_dependencies(mvn, pom, part, what)
            part.rename(folder)
    return folder


def _find_maven(what: str) -> str:
    mvn = shutil.which("mvn")
    if mvn is None:
        raise BrokerError(f"Maven fetches {what}, and there is no mvn on the PATH. {_INSTALL_MAVEN}")
    return mvn


@contextmanager
def _locked(cache: Path, what: str, say: Callable[[str], None]) -> Iterator[None]:
    lock = FileLock(cache / ".lock")
    try:
        cache.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            say(f"Another process is fetching {what} to {cache}; waiting for it.")
            lock.acquire(timeout=_FETCH_TIMEOUT_S + 30)
    except Timeout as exc:
        raise BrokerError(
            f"Another process has been fetching to {cache} for over {_FETCH_TIMEOUT_S} s: "
            "end it, and try again."
        ) from exc
    except OSError as exc:
        raise BrokerError(f"The folder {cache} for the jars of {what} can't be written: {exc}.") from exc
    try:
        yield
    finally:
        lock.release()


def _copy_dependencies(mvn: str, pom: Path, folder: Path, what: str) -> None:
    """Have Maven copy all of the POM's dependencies, with theirs, to a folder.

    Raises:
        BrokerError: it failed or took too long; with its first error and where the rest is.
    """
    command = [mvn, "--batch-mode", "--no-transfer-progress", "--strict-checksums", "-Dstyle.color=never"]
    command += ["--file", str(pom), COPY_DEPENDENCIES]
    command += ["-DincludeScope=runtime", f"-DoutputDirectory={folder}"]
    log_file = folder.with_name("maven.log")
    with ChildProcess("Maven", command, log_file=log_file) as maven:
        code = maven.wait(_FETCH_TIMEOUT_S)
    if code == 0:
        return
    outcome = f"did not end within {_FETCH_TIMEOUT_S} s" if code is None else f"ended with exit code {code}"
    errors = (line for line in log_file.read_text(errors="replace").splitlines() if "[ERROR]" in line)
    error = next(errors, "").partition("[ERROR]")[2].strip()
    raise BrokerError(
        f"Maven could not fetch {what}: it {outcome}. {error[:500]}\nAll that it said is in {log_file}."
    )
