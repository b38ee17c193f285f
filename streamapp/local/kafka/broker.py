"""Apache Kafka itself, one node on loopback: for tests that must hold on real Kafka, and for local work."""

import base64
import os
import shutil
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from filelock import FileLock, Timeout

from streamapp.errors import BrokerError
from streamapp.local.broker import (
    check_port_is_free,
    free_port,
    wait_until_port_is_free,
    wait_until_ready,
)
from streamapp.local.kafka.jars import fetch_jars, find_java
from streamapp.local.kafka.properties import (
    CLIENT_CA,
    DATA,
    HOST,
    KEYSTORE,
    SCRAM_MECHANISMS,
    Ports,
    Security,
    server_properties,
)
from streamapp.local.processes import ChildProcess

_LOGGING = Path(__file__).with_name("log4j2.properties")
_FORMAT_TIMEOUT_S = 60.0
_STOP_GRACE_S = 20.0
_PORT_TIMEOUT_S = 10.0


class KafkaBroker:
    """Apache Kafka with its controller in one process, on a folder of its own, as a context manager::

        with KafkaBroker(folder) as broker:
            producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap_servers)

    What it stores stays in the folder: another broker, or this one after `restart`, goes on with it. It
    listens on 127.0.0.1 only. It ends with the block, and with this process however that ends. All methods
    block; from async code call them in a thread.

    Attributes:
        folder: its ``data``, its configuration and ``kafka.log``; that of the start before is
            ``kafka.previous.log``.
        port: of the plaintext listener; chosen at the first start if None was given, and kept.
    """

    def __init__(
        self,
        folder: Path,
        port: int | None = None,
        *,
        security: Security | None = None,
        heap_mb: int = 256,
        start_timeout_s: float = 60.0,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Take what is needed; nothing starts yet.

        Args:
            folder: created where it is missing; one broker at a time.
            port: TCP port on loopback; None: a free one.
            security: listeners beside the plaintext one.
            heap_mb: Java's heap; the process takes about as much again.
            start_timeout_s: longest time until it serves clients, its jars not counted.
            say: told before something that takes a while.
        """
        self.folder = folder.absolute()
        self.port = port
        self._security = security
        self._heap_mb = heap_mb
        self._start_timeout_s = start_timeout_s
        self._say = say
        self._ports: Ports | None = None
        # Not the thread's: async code starts and stops the broker in threads, each time in another.
        self._lock = FileLock(self.folder / ".lock", thread_local=False)
        self._process: ChildProcess | None = None

    @property
    def bootstrap_servers(self) -> str:
        """``127.0.0.1:PORT`` of the plaintext listener.

        Raises:
            BrokerError: the port is not chosen yet.
        """
        return _address("plaintext", self.port)

    @property
    def sasl_bootstrap_servers(self) -> str:
        """The same of the SASL_SSL listener."""
        return _address("SASL_SSL", None if self._ports is None else self._ports.sasl_ssl)

    @property
    def ssl_bootstrap_servers(self) -> str:
        """The same of the SSL listener, which wants a client certificate."""
        return _address("SSL", None if self._ports is None else self._ports.ssl)

    @property
    def log_file(self) -> Path:
        return self.folder / "kafka.log"

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.is_running

    def log_tail(self, lines: int = 15) -> str:
        """The last lines that the broker wrote; empty when it is stopped."""
        return "" if self._process is None else self._process.log_tail(lines)

    def start(self) -> None:
        """Start the broker and return when it serves clients.

        1. Find Java and the jars.
        2. Take the folder, choose ports, write the configuration.
        3. Format the folder, the first time.
        4. Run the broker and wait until it is ready.

        Raises:
            BrokerError: Java or Maven is missing, the folder or a port is taken, or the broker ended or did
                not answer in time; with the end of its log.
        """
        if self._process is not None:
            raise BrokerError("The Kafka broker was started twice. This is a bug.")
        java, jars = find_java(), fetch_jars(say=self._say)
        self._take_folder()
        try:
            self._ports = self._choose_ports()
            self.port = self._ports.plaintext
            self._write_configuration(self._ports)
            if not (self.folder / DATA / "meta.properties").exists():
                self._format(java, jars)
            with suppress(FileNotFoundError):
                os.replace(self.log_file, self.folder / "kafka.previous.log")
            command = [*_java_command(java, jars, self._heap_mb), "kafka.Kafka", "server.properties"]
            self._process = self._child("Kafka broker", command, self.log_file)
            self._process.start()
            wait_until_ready("Kafka broker", self._process, self.port, self._start_timeout_s)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the broker orderly: SIGTERM, and SIGKILL after 20 s. Without effect where it has ended."""
        process, self._process = self._process, None
        if process is not None:
            process.stop()
        self._lock.release()

    def kill(self) -> None:
        """End the broker by SIGKILL; returns when its port is free."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        self._lock.release()
        assert self.port is not None
        wait_until_port_is_free(self.port, _PORT_TIMEOUT_S)

    def restart(self) -> None:
        """End the broker orderly where it runs, and start it on the same ports and data.

        Raises:
            BrokerError: as `start`.
        """
        self.stop()
        self.start()

    def _take_folder(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
        except Timeout as exc:
            raise BrokerError(
                f"Another Kafka broker runs on the folder {self.folder}: end it, or choose another folder."
            ) from exc
        except OSError as exc:
            raise BrokerError(f"The folder {self.folder} can't be used for Kafka: {exc}.") from exc

    def _choose_ports(self) -> Ports:
        """Those of the start before; the first time free ones, but for the plaintext listener's."""
        ports = self._ports
        if ports is None:
            is_secure = self._security is not None
            has_ssl = self._security is not None and self._security.client_ca is not None
            ports = Ports(
                plaintext=free_port() if self.port is None else self.port,
                controller=free_port(),
                sasl_ssl=free_port() if is_secure else None,
                ssl=free_port() if has_ssl else None,
            )
        for port in (ports.plaintext, ports.controller, ports.sasl_ssl, ports.ssl):
            if port is not None:
                check_port_is_free(port)
        return ports

    def _write_configuration(self, ports: Ports) -> None:
        try:
            shutil.copyfile(_LOGGING, self.folder / _LOGGING.name)
            self._write_private("server.properties", server_properties(ports, self._security).encode())
            if self._security is not None:
                self._write_private(KEYSTORE, self._security.keystore.read_bytes())
                if self._security.client_ca is not None:
                    self._write_private(CLIENT_CA, self._security.client_ca.read_bytes())
        except OSError as exc:
            raise BrokerError(f"Kafka's configuration can't be written: {exc}.") from exc

    def _write_private(self, name: str, content: bytes) -> None:
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_bytes(content)

    def _format(self, java: str, jars: Path) -> None:
        """Make the folder a new cluster's; Kafka writes meta.properties last."""
        command = [*_java_command(java, jars, heap_mb=64), "kafka.tools.StorageTool", "format"]
        command += ["--cluster-id", _new_cluster_id(), "--config", "server.properties"]
        users = {} if self._security is None else self._security.users
        for name, password in users.items():
            for mechanism in SCRAM_MECHANISMS:
                command += ["--add-scram", f"{mechanism}=[name={name},password={password}]"]
        with self._child("Kafka format", command, self.folder / "format.log") as child:
            code = child.wait(_FORMAT_TIMEOUT_S)
            if code != 0:
                what = "did not end in time" if code is None else f"exit code {code}"
                raise BrokerError(
                    f"The folder {self.folder} could not be formatted for Kafka ({what}):\n{child.log_tail()}"
                )

    def _child(self, name: str, command: list[str], log_file: Path) -> ChildProcess:
        # Java takes options from the environment as well: it gets none of ours. The locale says how the
        # folder's name is spelled.
        environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8"}
        return ChildProcess(
            name,
            command,
            log_file=log_file,
            environment=environment,
            folder=self.folder,
            stop_grace_s=_STOP_GRACE_S,
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _address(listener: str, port: int | None) -> str:
    if port is None:
        raise BrokerError(
            f"The Kafka broker has no {listener} port: it was not started, or has no such listener."
        )
    return f"{HOST}:{port}"


def _java_command(java: str, jars: Path, heap_mb: int) -> list[str]:
    """Java for a quick start: the first compiler only, one thread for the garbage."""
    return [
        java,
        f"-Xmx{heap_mb}m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-XX:+ExitOnOutOfMemoryError",
        f"-Dlog4j2.configurationFile={_LOGGING.name}",
        # Otherwise the log ends before the orderly stop does.
        "-Dlog4j.shutdownHookEnabled=false",
        "-cp",
        f"{jars}/*",
    ]


def _new_cluster_id() -> str:
    """A random id as Kafka writes them; the command line must not take it for an option."""
    while (cluster_id := base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")).startswith("-"):
        continue
    return cluster_id
