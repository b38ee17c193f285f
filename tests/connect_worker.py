"""Apache Kafka's own Connect on loopback, with the worker's properties of the repository."""

import os
import time
import urllib.request
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.error import URLError

from streamapp.errors import BrokerError
from streamapp.local.broker import check_port_is_free, free_port, wait_until_port_is_free
from streamapp.local.kafka.jars import find_java
from streamapp.local.maven import fetch_dependencies
from streamapp.local.processes import ChildProcess

CONNECT = Path(__file__).parents[1] / "connect"
CACHE = Path("~/.cache/streamapp/connect")
PLUGINS = {
    "jdbc": (CONNECT / "plugins/jdbc", 35),
    "snowflake-v2": (CONNECT / "plugins/snowflake-v2", 170),
    "file": (Path(__file__).parent / "connect/plugins/file", 1),
}
SECRETS_LINE = "config.providers.dir.param.allowed.paths="
STOP_GRACE_S = 20.0
PORT_TIMEOUT_S = 10.0


def runtime_folder() -> Path:
    """The folder with the jars of a Connect worker; Maven fetches them the first time."""
    return fetch_dependencies(CONNECT / "runtime/pom.xml", CACHE / "runtime", "Kafka Connect", size_mb=35)


def plugin_folder(name: str) -> Path:
    """The folder with the jars of one of `PLUGINS`; Maven fetches them the first time."""
    source, size_mb = PLUGINS[name]
    folder = fetch_dependencies(
        source / "pom.xml", CACHE / name, f"the Connect plugin {name}", size_mb=size_mb
    )
    _add_manifest(source, folder)
    return folder


class ConnectWorker:
    """One worker in distributed mode, as a context manager::

        with ConnectWorker(folder, broker.bootstrap_servers, plugins=[plugin_folder("jdbc")], environment={}):
            ...

    It runs connect/worker.properties as it is, but for the folder of secrets: ``secrets`` in its folder.
    It ends with the block, and with this process however that ends. All methods block; from async code call
    them in a thread. Started again it goes on with the connectors that the broker keeps, on the same port.

    Attributes:
        folder: its properties, ``plugins``, ``secrets`` and ``connect.log``.
        secrets: what ``${dir:…}`` may name.
        url: of its REST API.
    """

    def __init__(
        self,
        folder: Path,
        bootstrap_servers: str,
        *,
        plugins: Sequence[Path],
        environment: Mapping[str, str],
        heap_mb: int = 512,
        start_timeout_s: float = 180.0,
    ) -> None:
        """Take what is needed; nothing starts yet.

        Args:
            folder: created where it is missing.
            bootstrap_servers: of the broker.
            plugins: folders of jars, one for each plugin.
            environment: what its ``${env:…}`` find beside what it needs itself, which it may override.
            heap_mb: Java's heap; the process takes about half as much again.
            start_timeout_s: longest time until it answers.
        """
        self.folder = folder.absolute()
        self.secrets = self.folder / "secrets"
        self._port = free_port()
        self._plugins = list(plugins)
        self._environment = {
            "CONNECT_BOOTSTRAP_SERVERS": bootstrap_servers,
            "CONNECT_SECURITY_PROTOCOL": "PLAINTEXT",
            "CONNECT_SASL_MECHANISM": "SCRAM-SHA-512",
            "CONNECT_SASL_JAAS_CONFIG": "",
            "CONNECT_GROUP": "streamapp-connect",
            "CONNECT_REPLICATION_FACTOR": "1",
            "CONNECT_LISTENER": self.url,
            "CONNECT_ADVERTISED_HOST": "127.0.0.1",
            **environment,
        }
        self._heap_mb = heap_mb
        self._start_timeout_s = start_timeout_s
        self._process: ChildProcess | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.is_running

    def log_tail(self, lines: int = 15) -> str:
        """The last lines that it wrote; empty when it is stopped."""
        return "" if self._process is None else self._process.log_tail(lines)

    def start(self) -> None:
        """Start the worker and return when it takes connectors.

        Raises:
            BrokerError: Java or Maven is missing, or the worker ended or did not answer in time; with the
                end of its log.
        """
        command = _java_command(find_java(), runtime_folder(), self._heap_mb)
        self._write_folder()
        check_port_is_free(self._port)
        self._process = ChildProcess(
            "Connect worker",
            command,
            log_file=self.folder / "connect.log",
            environment={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8", **self._environment},
            folder=self.folder,
            stop_grace_s=STOP_GRACE_S,
        )
        try:
            self._process.start()
            self._wait_until_ready(self._process)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the worker orderly. Without effect where it has ended."""
        process, self._process = self._process, None
        if process is not None:
            process.stop()

    def kill(self) -> None:
        """End the worker by SIGKILL; returns when its port is free.

        Java itself dies a moment after its supervisor, whom we wait for.

        Raises:
            BrokerError: the port is still taken after 10 s.
        """
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        wait_until_port_is_free(self._port, PORT_TIMEOUT_S)

    def _write_folder(self) -> None:
        plugins = self.folder / "plugins"
        plugins.mkdir(parents=True, exist_ok=True)
        self.secrets.mkdir(exist_ok=True)
        for plugin in self._plugins:
            link = plugins / plugin.parent.name
            if not link.is_symlink():
                link.symlink_to(plugin)
        lines = (CONNECT / "worker.properties").read_text().splitlines()
        assert sum(line.startswith(SECRETS_LINE) for line in lines) == 1
        lines = [f"{SECRETS_LINE}{self.secrets}" if line.startswith(SECRETS_LINE) else line for line in lines]
        (self.folder / "worker.properties").write_text("\n".join(lines))

    def _wait_until_ready(self, process: ChildProcess) -> None:
        give_up_at = time.monotonic() + self._start_timeout_s
        while not _is_healthy(self.url):
            if not process.is_running:
                raise BrokerError(f"The Connect worker ended at its start:\n{process.log_tail(40)}")
            if time.monotonic() > give_up_at:
                raise BrokerError(f"The Connect worker did not answer in time:\n{process.log_tail(40)}")
            time.sleep(0.05)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _is_healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False


def _add_manifest(source: Path, folder: Path) -> None:
    """The jar with which plugin.discovery=service_load finds a plugin that brings no manifest itself."""
    manifests = sorted(path for path in source.glob("META-INF/services/*") if path.is_file())
    if not manifests:
        return
    part = folder / f"manifest.{os.getpid()}.part"
    with zipfile.ZipFile(part, "w") as archive:
        for manifest in manifests:
            archive.write(manifest, manifest.relative_to(source))
    part.replace(folder / "manifest.jar")


def _java_command(java: str, jars: Path, heap_mb: int) -> list[str]:
    """Java for a quick start: the first compiler only, one thread for the garbage."""
    return [
        java,
        f"-Xmx{heap_mb}m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-XX:+ExitOnOutOfMemoryError",
        f"-Dlog4j2.configurationFile={CONNECT / 'log4j2.properties'}",
        # Snowflake's Arrow needs it.
        "--add-opens=java.base/java.nio=ALL-UNNAMED",
        "-cp",
        f"{jars}/*",
        "org.apache.kafka.connect.cli.ConnectDistributed",
        "worker.properties",
    ]
