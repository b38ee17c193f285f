"""Real worker processes for the end-to-end tests."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec


class WorkerProcess:
    """`faust -A streamapp.worker worker` in a process of its own; killed at the end if it still runs."""

    def __init__(
        self,
        variables: Mapping[str, str],
        folder: Path,
        name: str = "worker",
        *,
        app: str = "streamapp.worker",
        has_pages: bool = False,
    ) -> None:
        """Take what is needed.

        Args:
            name: of its log file in the folder.
            app: the module that Faust runs.
            has_pages: whether it serves its pages, on the port of the variables.
        """
        self.log_file = folder / f"{name}.log"
        self._command = [sys.executable, "-m", "faust", "-A", app, "worker"]
        self._command += [] if has_pages else ["--without-web"]
        self._folder = folder
        inherited = {k: v for k, v in os.environ.items() if not k.upper().startswith("STREAMAPP_")}
        self._variables = inherited | dict(variables)

    def __enter__(self) -> Self:
        with self.log_file.open("w") as log:
            self.process = subprocess.Popen(
                self._command, env=self._variables, cwd=self._folder, stdout=log, stderr=subprocess.STDOUT
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait(20)

    @property
    def log(self) -> str:
        """What the worker wrote until now."""
        return self.log_file.read_text()

    def check(self) -> None:
        """Fail where the worker has ended by itself."""
        assert self.process.poll() is None, f"exit code {self.process.returncode}:\n{self.log}"


def event(user_id: object, url: str | None) -> bytes:
    """A `modify_user` event's value."""
    properties: dict[str, Any] = {"target_user_image_url": url, "target_user_name": "example_name"}
    return msgspec.json.encode({"user_id": user_id, "event_properties": properties, "country": "co"})
