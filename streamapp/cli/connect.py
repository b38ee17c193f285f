"""`streamapp connect`: the connectors that load the results topic into a warehouse."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import click
from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from streamapp.connect.apply import Checked, Outcome, apply, check, wait_until_gone, wait_until_running
from streamapp.connect.causes import explain
from streamapp.connect.client import ConnectClient
from streamapp.connect.files import ConnectorFile, read_connector_file
from streamapp.connect.status import FAILED, RUNNING, ConnectorStatus
from streamapp.errors import ConnectError
from streamapp.local.display import make_console
from streamapp.settings import load_settings

_TIMEOUT_S = 120.0
_SETTLE_S = 2.0

_files = click.argument(
    "files",
    metavar="FILE…",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
_url = click.option("--url", help="Kafka Connect's REST API.  [default: STREAMAPP_CONNECT_URL]")
_timeout = click.option(
    "--timeout",
    "timeout_s",
    default=_TIMEOUT_S,
    show_default=True,
    type=click.FloatRange(min=0, min_open=True),
    help="Seconds to wait until all of a connector's tasks run.",
)


@click.group(
    "connect",
    epilog="""\b
Examples:
  streamapp connect validate connect/postgres.json
  streamapp connect apply connect/postgres.json
  streamapp connect status
  streamapp connect restart streamapp-postgres
""",
)
def command() -> None:
    """Kafka Connect: create the connectors to the warehouses, change them, see how they are doing.

    A connector is a JSON file in connect/; it names the secrets, which the Connect worker has.
    """


@command.command(
    "apply",
    epilog="""\b
Examples:
  streamapp connect apply connect/postgres.json connect/snowflake.json
  streamapp connect apply connect/snowflake.json --dry-run
""",
)
@_files
@click.option("--name", help="The connector's name; by default streamapp- and the file's name.")
@click.option("--dry-run", is_flag=True, help="Only say what is wrong, and what would change.")
@_timeout
@_url
def apply_files(
    files: tuple[Path, ...], name: str | None, dry_run: bool, timeout_s: float, url: str | None
) -> None:
    """Bring connectors to what their files say, and wait until they run.

    Each file is validated first; one with problems changes nothing, and neither do the others then. What is
    as it should be is left alone, but for what has failed or was paused: that is started again. Exits with 1
    where something is wrong or does not run, and says why.

    A connector's name is for ever: its offsets hang on it, and under another name it loads everything again.
    """
    connectors = _read(files, name)

    async def run(connect: ConnectClient, console: Console) -> bool:
        checked = [await check(connect, connector) for connector in connectors]
        if not _print_problems(console, checked):
            return False
        for one in checked:
            _print_changes(console, one, dry_run=dry_run)
            if not dry_run and not await _apply_one(connect, console, one, timeout_s):
                return False
        return True

    _run(url, run)


@command.command(
    "validate",
    epilog="""\b
Examples:
  streamapp connect validate connect/postgres.json connect/snowflake.json
""",
)
@_files
@_url
def validate(files: tuple[Path, ...], url: str | None) -> None:
    """Say what is wrong with connectors' files, property by property; nothing is changed.

    Connect and the connector look at the values, and try to log in with them. Beside that, properties that
    neither of them knows are named, and references to secrets that the worker does not have.
    """
    connectors = [read_connector_file(path) for path in files]

    async def run(connect: ConnectClient, console: Console) -> bool:
        return _print_problems(console, [await check(connect, connector) for connector in connectors])

    _run(url, run)


@command.command("status")
@click.argument("name", required=False)
@_url
def show_status(name: str | None, url: str | None) -> None:
    """Show the connectors and their tasks; one whole, with NAME. Exits with 1 where something has failed."""

    async def run(connect: ConnectClient, console: Console) -> bool:
        names = await connect.names() if name is None else [name]
        found = [await connect.status(one) for one in names]
        statuses = [one for one in found if one is not None]
        if name is not None and not statuses:
            raise await _no_such_connector(connect, name)
        if not statuses:
            console.print(f"Kafka Connect at {connect.url} has no connectors.")
            return True
        console.print(_parts_table(statuses[0]) if name else _status_table(statuses))
        return _print_failures(console, statuses)

    _run(url, run)


@command.command("restart")
@click.argument("name")
@click.option("--all", "is_all", is_flag=True, help="All of it, not only what has failed.")
@_timeout
@_url
def restart(name: str, is_all: bool, timeout_s: float, url: str | None) -> None:
    """Restart what has failed of a connector, and wait until it runs. It goes on where it stopped."""

    async def run(connect: ConnectClient, console: Console) -> bool:
        before = await connect.status(name)
        if before is None:
            raise await _no_such_connector(connect, name)
        if before.is_held:
            raise ConnectError(f"{name} is {before.connector.state}: streamapp connect apply starts it.")
        if not is_all and not before.failed:
            console.print(f"{name}: nothing of it has failed; --all restarts it all the same.")
        else:
            await connect.restart(name, only_failed=not is_all)
        after = await wait_until_running(connect, name, timeout_s=timeout_s, settle_s=_SETTLE_S)
        console.print(_parts_table(after))
        return _print_failures(console, [after])

    _run(url, run)


@command.command("delete")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_url
def delete(name: str, yes: bool, url: str | None) -> None:
    """Stop a connector and remove it. What it has loaded stays, and so do its offsets.

    They are in the consumer group connect-NAME on the broker: created again under the same name within the
    broker's retention of offsets (7 days by default), it goes on where it stopped.
    """

    async def run(connect: ConnectClient, console: Console) -> bool:
        if await connect.config(name) is None:
            raise await _no_such_connector(connect, name)
        if not yes:
            click.confirm(f"Stop and remove the connector {name} of {connect.url}?", abort=True)
        await connect.delete(name)
        await wait_until_gone(connect, name, timeout_s=_TIMEOUT_S)
        console.print(
            f"{name}: removed. Its offsets stay in the consumer group connect-{name}: under the same name "
            "it goes on where it stopped, under another it loads everything again."
        )
        return True

    _run(url, run)


def _run(url: str | None, work: Callable[[ConnectClient, Console], Awaitable[bool]]) -> None:
    """Do something with a client; exit with 1 where it says that not all is well."""

    async def session() -> bool:
        async with ConnectClient(url or load_settings().connect_url) as connect:
            return await work(connect, make_console())

    if not asyncio.run(session()):
        raise SystemExit(1)


def _read(files: Sequence[Path], name: str | None) -> list[ConnectorFile]:
    if name is not None and len(files) > 1:
        raise click.UsageError("--name is for one file.")
    connectors = [read_connector_file(path, name) for path in files]
    names = [connector.name for connector in connectors]
    if repeated := {one for one in names if names.count(one) > 1}:
        raise ConnectError(
            f"{', '.join(sorted(repeated))} is the name of two of these files: "
            "apply one of them, or use --name."
        )
    return connectors


async def _apply_one(connect: ConnectClient, console: Console, checked: Checked, timeout_s: float) -> bool:
    with console.status(f"{checked.file.name}: waiting until it runs"):
        after = await apply(connect, checked, timeout_s=timeout_s, settle_s=_SETTLE_S)
    if after.failed:
        return _print_failures(console, [after])
    console.print(f"  [green]RUNNING[/] with {_tasks(len(after.tasks))}")
    return True


def _print_problems(console: Console, checked: Sequence[Checked]) -> bool:
    """Each file's problems, or that it has none; returns whether none has any."""
    for one in checked:
        if not one.problems:
            console.print(f"[green]✓[/] {one.file.path}: nothing wrong")
            continue
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), title=f"✗ {one.file.path}", title_justify="left")
        table.add_column("property", overflow="fold", max_width=44)
        table.add_column("what is wrong", overflow="fold")
        for problem in one.problems:
            table.add_row(Text(problem.key), Text(problem.message))
        console.print(table)
    return not any(one.problems for one in checked)


def _print_changes(console: Console, checked: Checked, *, dry_run: bool) -> None:
    would = "would be " if dry_run and checked.outcome is not Outcome.UNCHANGED else ""
    console.print(f"{checked.file.name}: [bold]{would}{checked.outcome}[/]")
    for change in checked.changes:
        console.print(Padding(Text(str(change)), (0, 0, 0, 2)))


def _status_table(statuses: Sequence[ConnectorStatus]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("connector", "state", "tasks running", "worker"):
        table.add_column(column, overflow="fold")
    for status in statuses:
        table.add_row(
            status.name,
            _state(status.connector.state),
            f"{status.running_tasks} of {len(status.tasks)}",
            status.connector.worker,
        )
    return table


def _parts_table(status: ConnectorStatus) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for column in (status.name, "state", "worker"):
        table.add_column(column, overflow="fold")
    for what, part in status.parts.items():
        table.add_row(what, _state(part.state), part.worker)
    return table


def _print_failures(console: Console, statuses: Sequence[ConnectorStatus]) -> bool:
    """Why each failed part has failed, once for each cause; returns whether none has."""
    for status in statuses:
        parts: dict[str, list[str]] = {}
        for what, part in status.failed.items():
            parts.setdefault(explain(part.trace), []).append(what)
        for why, names in parts.items():
            console.print(f"[red]✗[/] {status.name}, {', '.join(names)} FAILED:")
            console.print(Padding(Text(why), (0, 0, 0, 2)))
        if parts:
            console.print(f"  Then: streamapp connect restart {status.name}")
    return not any(status.failed for status in statuses)


async def _no_such_connector(connect: ConnectClient, name: str) -> ConnectError:
    names = ", ".join(await connect.names()) or "none"
    return ConnectError(f"Kafka Connect at {connect.url} has no connector {name}. It has: {names}.")


def _state(state: str) -> Text:
    return Text(state, {RUNNING: "green", FAILED: "red"}.get(state, "yellow"))


def _tasks(number: int) -> str:
    return f"{number} task" + ("" if number == 1 else "s")
