"""Runs a command of streamapp as a process of its own."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

TIMEOUT_S = 90


@dataclass(frozen=True)
class Ended:
    """What a command left behind."""

    exit_code: int
    output: str
    errors: str


class Command:
    """One command, ``dead-letters``, in a folder, with these settings and none of the surroundings'."""

    def __init__(self, name: str, folder: Path, variables: Mapping[str, str]) -> None:
        self._name = name
        self._folder = folder
        self._variables = variables

    @asynccontextmanager
    async def started(self, *arguments: str, **variables: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """The process while it runs; it is gone with the block, which has 90 s."""
        kept = {
            name: value for name, value in os.environ.items() if not name.upper().startswith("STREAMAPP_")
        }
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "streamapp", self._name, *arguments),
            cwd=self._folder,
            env=kept | {"PYTHONUNBUFFERED": "1", **self._variables, **variables},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(TIMEOUT_S):
                yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()

    async def run(self, *arguments: str, answer: bytes = b"", **variables: str) -> Ended:
        """Run it to its end; `answer` is its whole stdin."""
        async with self.started(*arguments, **variables) as process:
            return await ended(process, answer)

    async def __call__(self, *arguments: str) -> str:
        """What the command prints; it must end well."""
        done = await self.run(*arguments)
        assert (done.exit_code, done.errors) == (0, "")
        return done.output


async def ended(process: asyncio.subprocess.Process, answer: bytes = b"") -> Ended:
    """Wait for its end, and take what it has not been asked for yet."""
    output, errors = await process.communicate(answer)
    assert process.returncode is not None
    return Ended(process.returncode, output.decode(), errors.decode())
