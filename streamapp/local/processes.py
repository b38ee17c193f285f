"""Child processes that are started with a log file and leave nothing behind."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from streamapp.errors import StreamappError

_SUPERVISOR = Path(__file__).with_name("supervisor.py")


class ChildProcess:
    """One program as a context manager: runs inside, is gone outside, whatever happened.

    It has a session of its own, so that the terminal's Ctrl-C reaches only us, and a supervisor that ends
    it when this process dies. `start` and `stop` block; from async code call them in a thread.

    Attributes:
        name: in messages, ``broker``.
        log_file: where its stdout and stderr go; written anew by each start.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log_file: Path,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        stop_grace_s: float = 10.0,
    ) -> None:
        """Take what is needed; nothing starts yet.

        Args:
            name: for messages.
            command: the program and its arguments.
            log_file: its folder is created.
            environment: the whole environment; None: this process's.
            folder: where it runs; None: the current one.
            stop_grace_s: time between SIGTERM and SIGKILL.
        """
        self.name = name
        self.log_file = log_file
        self._command = list(command)
        self._environment = None if environment is None else dict(environment)
        self._folder = folder
        self._stop_grace_s = stop_grace_s
        self._supervisor: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the program.

        Raises:
            StreamappError: it runs already, or the log file can't be written.
        """
        if self._supervisor is not None:
            raise StreamappError(f"The {self.name} was started twice. This is a bug.")
        with self._open_log() as log:
            self._supervisor = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_SUPERVISOR), str(self._stop_grace_s), *self._command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                cwd=self._folder,
                start_new_session=True,
            )

    def stop(self) -> None:
        """End the program: SIGTERM, and SIGKILL after the grace. Without effect where it has ended."""
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is None:
            return
        assert supervisor.stdin is not None
        try:
            supervisor.stdin.close()
            supervisor.wait(timeout=self._stop_grace_s + 5)
        finally:
            # Reached with the group alive only where the supervisor hangs or was killed itself.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(supervisor.pid, signal.SIGKILL)
            supervisor.wait(timeout=5)

    def kill(self) -> None:
        """End the program and its supervisor by SIGKILL, at once. Without effect where they have ended."""
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is None:
            return
        assert supervisor.stdin is not None
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(supervisor.pid, signal.SIGKILL)
        supervisor.wait(timeout=5)
        supervisor.stdin.close()

    def wait(self, timeout_s: float) -> int | None:
        """Wait until the program has ended by itself.

        Returns:
            Its exit code, as `exit_code`; None where it still runs when the time is up.
        """
        if self._supervisor is None:
            raise StreamappError(f"The {self.name} is waited for and was not started. This is a bug.")
        try:
            return self._supervisor.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    @property
    def is_running(self) -> bool:
        return self._supervisor is not None and self._supervisor.poll() is None

    @property
    def exit_code(self) -> int | None:
        """The program's exit code, 128 + n after signal n; None while it runs and after `stop`."""
        return None if self._supervisor is None else self._supervisor.poll()

    def log_tail(self, lines: int = 15) -> str:
        """The last lines that the program wrote, for an error message."""
        try:
            text = self.log_file.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    def _open_log(self) -> IO[bytes]:
        try:
            self.log_file.parent.mkdir(parents=True, exist_ok=True)
            return self.log_file.open("wb")
        except OSError as exc:
            raise StreamappError(f"The {self.name}'s log {self.log_file} can't be written: {exc}.") from exc

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
