"""The workers of the chaos suite, and what is done to them."""

import asyncio
import os
import re
import signal
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp
from workers import WorkerProcess

from streamapp.local.broker import free_port

TESTS = Path(__file__).parents[1]
POLL_S = 0.1
PARTITION = re.compile(r"\[(\d+)\]")
ASSIGNED = re.compile(r"Assigned (.*)\.$", re.MULTILINE)


class Fleet:
    """Worker processes of one group; those that still run are killed at the block's end.

    Attributes:
        alive: those that were started and neither killed nor stopped nor found ended.
        started: how many were started in all.
        exit_codes: of all that ended by themselves or by SIGTERM, in their order.
    """

    def __init__(
        self, variables: Mapping[str, str], folder: Path, partitions: int, *, has_pages: bool = False
    ) -> None:
        """Take what is needed; nothing starts yet.

        Args:
            variables: of every worker.
            folder: for their logs.
            partitions: of the events topic.
            has_pages: whether each serves its pages, on a port of its own.
        """
        self._variables = dict(variables) | {"PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent}"}
        self._folder = folder
        self._partitions = partitions
        self._has_pages = has_pages
        self._ports: dict[WorkerProcess, int] = {}
        self._stack = ExitStack()
        self.started = 0
        self.alive: list[WorkerProcess] = []
        self.exit_codes: list[int] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def start(self, count: int = 1, **variables: str) -> list[WorkerProcess]:
        """Start workers; the variables are added to those that all have, for those that come later too."""
        self._variables |= variables
        new = []
        for _ in range(count):
            self.started += 1
            port = free_port()
            worker = WorkerProcess(
                self._variables | {"STREAMAPP_WEB_PORT": str(port)},
                self._folder,
                f"worker-{self.started}",
                app="chaos.worker",
                has_pages=self._has_pages,
            )
            self._ports[worker] = port
            new.append(self._stack.enter_context(worker))
        self.alive += new
        return new

    def kill(self, worker: WorkerProcess) -> None:
        """End it by SIGKILL."""
        self.alive.remove(worker)
        worker.process.kill()
        worker.process.wait(20)

    async def stop(self, worker: WorkerProcess, timeout_s: float = 60.0) -> int:
        """End it by SIGTERM; its exit code."""
        self.alive.remove(worker)
        worker.process.send_signal(signal.SIGTERM)
        code = await asyncio.to_thread(worker.process.wait, timeout_s)
        self.exit_codes.append(code)
        return code

    def revive(self) -> list[int]:
        """Start a worker for each that has ended by itself, as an orchestrator does; their exit codes."""
        ended = [worker for worker in self.alive if worker.process.poll() is not None]
        codes = [worker.process.returncode for worker in ended]
        self.exit_codes += codes
        self.alive = [worker for worker in self.alive if worker not in ended]
        self.start(len(ended))
        return codes

    def memory_mb(self) -> int:
        """Resident memory of the largest worker, its decoders not counted."""
        return max((_memory_mb(worker.process.pid) for worker in self.alive), default=0)

    async def ready(self) -> list[bool]:
        """What /ready says, of each living worker; one that does not answer is not ready."""
        return [await _is_green(self._ports[worker], "ready") for worker in self.alive]

    async def live(self) -> list[bool]:
        """What /live says, likewise."""
        return [await _is_green(self._ports[worker], "live") for worker in self.alive]

    async def until_assigned(self, timeout_s: float = 90.0) -> None:
        """Wait until the living workers share all partitions.

        Raises:
            AssertionError: one has ended.
            TimeoutError: they still don't.
        """
        async with asyncio.timeout(timeout_s):
            while not self._has_shared_out():
                for worker in self.alive:
                    worker.check()
                await asyncio.sleep(POLL_S)

    def _has_shared_out(self) -> bool:
        shares = [len(owned(worker)) for worker in self.alive]
        return sum(shares) == self._partitions and all(shares)

    def logs(self) -> str:
        """The ends of what the living workers wrote, for whoever asks why."""
        return "\n".join(f"{worker.log_file}:\n{worker.log[-1500:]}" for worker in self.alive)


def owned(worker: WorkerProcess) -> set[int]:
    """The partitions that a worker was assigned last, by its own log."""
    found = ASSIGNED.findall(worker.log)
    return set(map(int, PARTITION.findall(found[-1]))) if found else set()


async def _is_green(port: int, page: str) -> bool:
    """Whether this page of the worker whose pages are on this port says that all holds."""
    timeout = aiohttp.ClientTimeout(total=2.0)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(f"http://127.0.0.1:{port}/{page}") as answer,
        ):
            return answer.status == 200
    except (aiohttp.ClientError, OSError, TimeoutError):
        return False


def _memory_mb(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    return int(found[1]) // 1024 if found else 0
