"""Bring a connector to what its file says, and wait until it runs."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from streamapp.connect.checks import Problem, find_problems, key_not_found, secret_keys, with_broken_key
from streamapp.connect.client import ConnectClient
from streamapp.connect.files import ConnectorFile
from streamapp.connect.status import ConnectorStatus
from streamapp.errors import ConnectError

_POLL_EVERY_S = 0.25


class Outcome(StrEnum):
    """What became of a connector."""

    CREATED = "created"
    CHANGED = "changed"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class Change:
    """A property that differs between a connector and its file.

    Attributes:
        key: the property.
        before, after: its values; None: it is not set. A secret's are ``…``.
    """

    key: str
    before: str | None
    after: str | None

    def __str__(self) -> str:
        if self.before is None:
            return f"+ {self.key} = {self.after}"
        if self.after is None:
            return f"- {self.key} = {self.before}"
        return f"~ {self.key} = {self.before} → {self.after}"


@dataclass(frozen=True, slots=True)
class Checked:
    """A file held against Connect, before anything is changed.

    Attributes:
        file: it.
        problems: what is wrong with it; empty: it can be applied.
        outcome: what applying does.
        changes: of a connector that is there.
    """

    file: ConnectorFile
    problems: list[Problem]
    outcome: Outcome
    changes: list[Change]


async def check(connect: ConnectClient, file: ConnectorFile) -> Checked:
    """Validate a file, and compare it with the connector of that name.

    Raises:
        ConnectError: Connect can't be asked, or does not have the connector's class.
    """
    installed = await connect.classes()
    if file.connector_class not in installed:
        raise ConnectError(
            f"{file.path}: Kafka Connect at {connect.url} has no {file.connector_class}. It has: "
            f"{', '.join(sorted(installed)) or 'none'}."
        )
    fields = await connect.validate(file.connector_class, {**file.config, "name": file.name})
    problems = find_problems(file.connector_class, file.config, fields)
    if not problems and not await _has_key(connect, file):
        problems = [key_not_found(file.config)]
    before = await connect.config(file.name)
    if before is None:
        return Checked(file, problems, Outcome.CREATED, [])
    changes = _changes(before, file.config, secret_keys(fields))
    return Checked(file, problems, Outcome.CHANGED if changes else Outcome.UNCHANGED, changes)


async def _has_key(connect: ConnectClient, file: ConnectorFile) -> bool:
    """Whether the worker has the key that the file names, or it names none."""
    broken = with_broken_key(file.config)
    if broken is None:
        return True
    fields = await connect.validate(file.connector_class, {**broken, "name": file.name})
    return bool(find_problems(file.connector_class, broken, fields))


async def apply(
    connect: ConnectClient, checked: Checked, *, timeout_s: float, settle_s: float
) -> ConnectorStatus:
    """Send a config where it differs, start what has failed or is held, and wait until all runs.

    Returns:
        The connector's status when it runs, or as soon as a part of it has failed for good.

    Raises:
        ConnectError: Connect can't be asked, the file has problems, or the time is up.
    """
    name = checked.file.name
    if checked.problems:
        raise ConnectError(f"The connector {name} is applied with problems in its file. This is a bug.")
    if checked.outcome is not Outcome.UNCHANGED:
        await connect.put_config(name, checked.file.config)
    status = await connect.status(name)
    if status is not None and status.is_held:
        await connect.resume(name)
    if status is not None and status.failed and checked.outcome is Outcome.UNCHANGED:
        await connect.restart(name)
    return await wait_until_running(connect, name, timeout_s=timeout_s, settle_s=settle_s)


async def wait_until_running(
    connect: ConnectClient, name: str, *, timeout_s: float, settle_s: float
) -> ConnectorStatus:
    """Wait until a connector runs with all of its tasks, or a part has failed, and it stays so for a while.

    Connect's status lags behind its restarts: the state of before is told for a moment.

    Args:
        connect: the client.
        name: the connector's.
        timeout_s: longest wait.
        settle_s: for how long the state must hold.

    Raises:
        ConnectError: Connect can't be asked, or the time is up.
    """
    give_up_at = time.monotonic() + timeout_s
    settled: tuple[bool, frozenset[str]] | None = None
    since = time.monotonic()
    while True:
        status = await connect.status(name)
        seen = None if status is None else await _end_state(connect, status)
        if seen != settled:
            settled, since = seen, time.monotonic()
        if status is not None and settled is not None and time.monotonic() - since >= settle_s:
            return status
        if time.monotonic() > give_up_at:
            states = "no state yet" if status is None else _states(status)
            raise ConnectError(
                f"The connector {name} did not run within {timeout_s:g} s ({states}). It may still come: "
                f"streamapp connect status {name}"
            )
        await asyncio.sleep(_POLL_EVERY_S)


async def wait_until_gone(connect: ConnectClient, name: str, *, timeout_s: float) -> None:
    """Wait until Connect has no state of a deleted connector left.

    Raises:
        ConnectError: Connect can't be asked, or the time is up.
    """
    give_up_at = time.monotonic() + timeout_s
    while await connect.status(name) is not None:
        if time.monotonic() > give_up_at:
            raise ConnectError(f"The connector {name} was still there {timeout_s:g} s after it was deleted.")
        await asyncio.sleep(_POLL_EVERY_S)


async def _end_state(connect: ConnectClient, status: ConnectorStatus) -> tuple[bool, frozenset[str]] | None:
    """Whether it runs, and what of it has failed; None while neither is so."""
    failed = frozenset(status.failed)
    if failed:
        return False, failed
    return (True, failed) if status.is_running(await connect.task_count(status.name)) else None


def _states(status: ConnectorStatus) -> str:
    return ", ".join(f"{what} {part.state}" for what, part in status.parts.items())


def _changes(before: Mapping[str, str], after: Mapping[str, str], secrets: frozenset[str]) -> list[Change]:
    changes = []
    for key in sorted(before.keys() | after.keys()):
        old, new = before.get(key), after.get(key)
        if old != new:
            hide = key in secrets
            changes.append(
                Change(
                    key,
                    "…" if hide and old is not None else old,
                    "…" if hide and new is not None else new,
                )
            )
    return changes
