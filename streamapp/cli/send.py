"""`streamapp send`: produce modify_user events for pictures, or from a file."""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import IO

import click
from rich.console import Console

from streamapp.local.display import counted, make_console
from streamapp.local.events import make_event, read_lines
from streamapp.local.outcomes import Outcome, OutcomeReader
from streamapp.local.pictures import HOST, PictureServer, pictures_in
from streamapp.local.sending import send_values
from streamapp.logs import configure_logs
from streamapp.records import SourcePosition, leaves_a_record
from streamapp.settings import Settings, load_settings
from streamapp.topics import ensure_topics, require_topics

_FIRST_USER_ID = 37_000_001


@dataclass(frozen=True, slots=True)
class _Options:
    """The command's options, as the README describes them."""

    user_id: str | None
    rate_per_s: float | None
    is_waiting: bool
    timeout_s: float


@click.command(
    "send",
    epilog="""\b
Examples:
  streamapp send https://cdn.example.com/a.png https://cdn.example.com/b.jpg --user-id 37217839
  streamapp send ~/Pictures --timeout 600
  streamapp send --events events.jsonl --rate 50
  head -100 events.jsonl | streamapp send --events - --wait
""",
)
@click.argument("sources", nargs=-1, metavar="[FILE|FOLDER|URL]...")
@click.option(
    "--events",
    type=click.File("rb"),
    help="Send the lines of this file as they are, even those that are not JSON; - is stdin.",
)
@click.option("--user-id", help="The user of every picture; otherwise each gets a user of its own.")
@click.option(
    "--rate",
    "rate_per_s",
    type=click.FloatRange(min=0, min_open=True),
    help="Events per second; as fast as can be.",
)
@click.option("--wait", "is_waiting", is_flag=True, help="Wait for the outcomes; always so for local files.")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0, min_open=True),
    default=120.0,
    show_default=True,
    help="Longest time in seconds to wait for the outcomes.",
)
def command(
    sources: tuple[str, ...],
    events: IO[bytes] | None,
    user_id: str | None,
    rate_per_s: float | None,
    is_waiting: bool,
    timeout_s: float,
) -> None:
    """Send an event for each picture, or the events of a file.

    Local files and folders are served over HTTP on 127.0.0.1 until every event has its outcome, the time
    is up or Ctrl-C comes; so the worker must run on this machine, with
    STREAMAPP_ALLOW_PRIVATE_HOSTS=127.0.0.1. Exits with 1 if an outcome that is waited for did not come.
    """
    if bool(sources) == (events is not None):
        raise click.UsageError("Name files, folders or URLs, or give --events; one of the two.")
    if events is not None and user_id is not None:
        raise click.UsageError("--user-id is for pictures; the lines of --events are sent as they are.")
    configure_logs("WARNING")
    options = _Options(user_id, rate_per_s, is_waiting, timeout_s)
    missing = asyncio.run(_send(load_settings(), sources, events, options, make_console()))
    raise SystemExit(1 if missing else 0)


async def _send(
    settings: Settings, sources: Sequence[str], events: IO[bytes] | None, options: _Options, console: Console
) -> int:
    """Send and, where wanted, wait; returns how many outcomes did not come."""
    files = _local_files(sources)
    async with AsyncExitStack() as stack:
        reader = None
        if files or options.is_waiting:
            reader = await stack.enter_async_context(OutcomeReader(settings))
        else:
            await _check_topic(settings)
        urls = [source for source in sources if "://" in source]
        if files:
            server = await stack.enter_async_context(PictureServer(files))
            urls += [server.url_of(name) for name in files]
            console.print(
                f"Serving {len(files)} files on {HOST}: the worker must run on this machine, "
                f"with STREAMAPP_ALLOW_PRIVATE_HOSTS={HOST}",
                soft_wrap=True,
            )
        values = read_lines(events) if events is not None else _events_for(urls, options.user_id)
        total = None if events is not None else len(urls)
        waited_for = await _produce(settings, values, total, options.rate_per_s, console)
        if reader is None:
            return 0
        return await _wait(reader, waited_for, options.timeout_s, console)


def _local_files(sources: Sequence[str]) -> dict[str, Path]:
    """Name on the picture server → file; the name's first part tells sources with equal names apart."""
    paths = [Path(source) for source in sources if "://" not in source]
    return {f"{n}/{name}": file for n, path in enumerate(paths) for name, file in pictures_in(path).items()}


async def _check_topic(settings: Settings) -> None:
    topics = await ensure_topics(settings, create=False)
    require_topics(settings, [topic for topic in topics if topic.name == settings.events_topic])


def _events_for(urls: Iterable[str], user_id: str | None) -> Iterable[bytes]:
    for url, number in zip(urls, count(_FIRST_USER_ID), strict=False):
        yield make_event(user_id or str(number), url)


async def _produce(
    settings: Settings, values: Iterable[bytes], total: int | None, rate_per_s: float | None, console: Console
) -> set[SourcePosition]:
    """Send all of it; returns the events of which a row or a dead letter will come."""
    waited_for, sent = set(), 0

    def tell(error: type[BaseException] | None, *_: object) -> None:
        # After Ctrl-C, too: whoever sends the rest must know where it begins.
        rest = "." if error is None else "; some of the next may be there, too."
        console.print(
            f"Sent {sent} events to {settings.events_topic} at {settings.brokers}{rest}", soft_wrap=True
        )

    async with AsyncExitStack() as stack:
        stack.push(tell)
        count_one = stack.enter_context(counted(console, "sent", total))
        sending = send_values(settings, values, rate_per_s=rate_per_s)
        async for value, position in await stack.enter_async_context(aclosing(sending)):
            sent += 1
            count_one()
            if leaves_a_record(value):
                waited_for.add(position)
    return waited_for


async def _wait(
    reader: OutcomeReader, waited_for: set[SourcePosition], timeout_s: float, console: Console
) -> int:
    outcomes: dict[SourcePosition, Outcome] = {}
    with counted(console, "outcomes", len(waited_for)) as count_one:

        def on_outcome(outcome: Outcome) -> None:
            if outcome.source in waited_for and outcome.source not in outcomes:
                outcomes[outcome.source] = outcome
                count_one()

        missing = await reader.collect(waited_for, timeout_s=timeout_s, on_outcome=on_outcome)
    rows = [outcome.row for outcome in outcomes.values() if outcome.row is not None]
    flagged = sum(row.TO_BE_MODERATED for row in rows)
    console.print(f"{len(rows)} rows, {flagged} to be moderated; {len(outcomes) - len(rows)} dead letters.")
    if missing:
        console.print(
            f"[red]{len(missing)} events had no outcome after {timeout_s:g} s.[/] Does a worker run?"
        )
    return len(missing)
