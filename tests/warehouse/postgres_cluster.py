"""A PostgreSQL cluster of the tests' own: a free loopback port, a folder in tmp, gone with the process."""

import os
import pwd
import re
import secrets
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg

from streamapp.local.broker import free_port
from streamapp.local.processes import ChildProcess

SQL = Path(__file__).parents[2] / "connect" / "postgres"
USER = "streamapp"
_DEBIAN = Path("/usr/lib/postgresql")
_TIMEOUT_S = 60.0
_MIN_VERSION = 14


class NoPostgresError(Exception):
    """PostgreSQL is not installed here."""


class PostgresCluster:
    """A running cluster with a password of its own, as a context manager. What it stores is gone at its end.

    Attributes:
        port: on 127.0.0.1.
        password: of the superuser `USER`.
    """

    def __init__(self) -> None:
        self.password = secrets.token_hex(8)
        self.port = 0
        self._folder: Path | None = None
        self._process: ChildProcess | None = None

    def __enter__(self) -> Self:
        """Start it.

        Raises:
            NoPostgresError: its programs are not here.
            AssertionError: they are, and do not work; with what they say.
        """
        self._binaries = find_binaries()
        # Not pytest's tmp_path: PostgreSQL runs as another user, who can't look into root's folders.
        self._folder = Path(tempfile.mkdtemp(prefix="streamapp-postgres-"))
        try:
            self._make(self._folder)
            self.port = free_port()
            self.start_server()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def url(self, database: str = "postgres") -> str:
        """Where psycopg finds a database, the password in it."""
        return f"postgresql://{USER}:{self.password}@127.0.0.1:{self.port}/{database}"

    def new_warehouse(self, folder: Path = SQL) -> str:
        """The name of a new database with the landing table and the views, by this folder's SQL files."""
        name = f"warehouse_{uuid.uuid4().hex[:8]}"
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f"create database {name}")
        run_scripts(self.url(name), folder)
        return name

    def end_server(self, mode: str = "immediate") -> None:
        """End the server as a crash does, or "fast", as a restart does; what was committed stays."""
        process, self._process = self._process, None
        if process is None:
            return
        # SIGTERM waits for clients to leave, and its children outlive a SIGKILL: end all of them at once.
        stop = [str(self._binaries / "pg_ctl"), "stop", "-D", str(self._data), "-m", mode]
        subprocess.run(_as_unprivileged(stop), cwd=self._folder, capture_output=True, timeout=_TIMEOUT_S)
        process.stop()

    def start_server(self) -> None:
        """Start the server on the cluster's port, and return when it answers."""
        assert self._folder is not None
        command = [str(self._binaries / "postgres"), "-D", str(self._data), "-p", str(self.port)]
        settings = {"listen_addresses": "127.0.0.1", "unix_socket_directories": str(self._folder)}
        settings |= {"fsync": "off", "autovacuum": "off"}
        # No view may depend on the server's own zone.
        settings |= {"shared_buffers": "64MB", "timezone": "America/Bogota"}
        command += [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        log_file = self._folder / "postgres.log"
        process = ChildProcess(
            "PostgreSQL", _as_unprivileged(command), log_file=log_file, folder=self._folder
        )
        process.start()
        self._process = process
        self._wait_until_ready(process)

    def _make(self, folder: Path) -> None:
        """Make the cluster's files, its owner whoever may run it."""
        password_file = folder / "password"
        password_file.write_text(self.password)
        if os.geteuid() == 0:
            user = _unprivileged()
            for path in (folder, password_file):
                os.chown(path, user.pw_uid, user.pw_gid)
        initdb = [str(self._binaries / "initdb"), "--pgdata", str(self._data), "--username", USER]
        initdb += ["--auth", "scram-sha-256", "--pwfile", str(password_file)]
        initdb += ["--encoding", "UTF8", "--no-locale", "--no-sync"]
        made = subprocess.run(
            _as_unprivileged(initdb), cwd=folder, capture_output=True, text=True, timeout=_TIMEOUT_S
        )
        assert made.returncode == 0, f"initdb ended with {made.returncode}:\n{made.stdout}{made.stderr}"

    def _wait_until_ready(self, process: ChildProcess) -> None:
        give_up_at = time.monotonic() + _TIMEOUT_S
        while True:
            try:
                psycopg.connect(self.url(), connect_timeout=5).close()
                return
            except psycopg.OperationalError as exc:
                assert process.is_running, f"PostgreSQL ended at its start:\n{process.log_tail()}"
                assert time.monotonic() < give_up_at, f"PostgreSQL did not answer: {exc}"
                time.sleep(0.02)

    def _remove(self) -> None:
        self.end_server()
        if self._folder is not None:
            shutil.rmtree(self._folder)

    @property
    def _data(self) -> Path:
        assert self._folder is not None
        return self._folder / "data"


def run_scripts(url: str, folder: Path = SQL) -> None:
    """Run a folder's SQL files in the order of their names, as `psql -f` does."""
    # psycopg's own transaction would swallow the scripts' begin and commit.
    with psycopg.connect(url, autocommit=True) as connection:
        for script in sorted(folder.glob("*.sql")):
            connection.execute(script.read_text("utf-8"))  # type: ignore[arg-type]  # no literal


def find_binaries() -> Path:
    """The folder with PostgreSQL's server programs: of the PATH, of pg_config, or Debian's newest.

    Raises:
        NoPostgresError: there is none, or none that is new enough.
    """
    folders = [Path(found).parent for found in [shutil.which("initdb")] if found]
    if pg_config := shutil.which("pg_config"):
        answer = subprocess.run([pg_config, "--bindir"], capture_output=True, text=True, timeout=_TIMEOUT_S)
        folders.append(Path(answer.stdout.strip()))
    folders += sorted(_DEBIAN.glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)
    for folder in folders:
        if (folder / "initdb").exists() and _version(folder) >= _MIN_VERSION:
            return folder
    raise NoPostgresError(
        f"PostgreSQL's server (version {_MIN_VERSION} or later) is not here: no initdb on the PATH, from "
        f"pg_config --bindir or in {_DEBIAN}/*/bin (Debian: apt install postgresql)."
    )


def _version(folder: Path) -> int:
    command = [folder / "initdb", "--version"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S)
    found = re.search(r"\) (\d+)", answer.stdout)
    return int(found[1]) if found else 0


def _unprivileged() -> pwd.struct_passwd:
    """Whom PostgreSQL runs as where we are root, which it refuses."""
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise NoPostgresError("PostgreSQL does not run as root, and there is no user postgres or nobody.")


def _as_unprivileged(command: Sequence[str]) -> list[str]:
    """The command as whoever may run PostgreSQL; setpriv becomes the program, so that signals reach it."""
    if os.geteuid() != 0:
        return list(command)
    user = _unprivileged()
    ids = ["--reuid", str(user.pw_uid), "--regid", str(user.pw_gid), "--clear-groups"]
    return ["setpriv", *ids, *command]
