"""`streamapp moderate`: pictures from disk or the web to rows, without Kafka."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console

from streamapp.cli.rows import row_table
from streamapp.engine import Engine, open_engine
from streamapp.logs import configure_logs
from streamapp.records import Event, ResultRow
from streamapp.settings import Settings, load_settings

# Pictures that are worked on at the same time: enough to fill the models' batches.
IN_FLIGHT = 16


@click.command(
    "moderate",
    epilog="""\b
Examples:
  streamapp moderate portrait.jpg
  streamapp moderate pictures/ --json > rows.jsonl
  streamapp moderate https://example.com/a.png
  STREAMAPP_ALLOW_PRIVATE_HOSTS=127.0.0.1 streamapp moderate http://127.0.0.1:8000/a.png
""",
)
@click.argument("pictures", nargs=-1, required=True, metavar="PATH_OR_URL...")
@click.option("--json", "as_json", is_flag=True, help="JSON lines, as they would be on the results topic.")
def command(pictures: tuple[str, ...], as_json: bool) -> None:
    """Moderate pictures here and now: the same code from fetch to row as in the worker.

    A folder stands for all files in it. Exits with 0 also where pictures are to be moderated.
    """
    settings = load_settings()
    configure_logs("WARNING")
    targets = [target for picture in pictures for target in _targets(picture)]
    rows = asyncio.run(_moderate(settings, targets, as_json))
    if not as_json:
        Console().print(row_table(rows))
        click.echo(f"{len(rows)} pictures, {sum(row.TO_BE_MODERATED for row in rows)} to be moderated.")


def _targets(picture: str) -> Iterator[str]:
    if "://" in picture:
        yield picture
        return
    path = Path(picture)
    if path.is_dir():
        yield from (str(file) for file in sorted(path.rglob("*")) if file.is_file())
    elif path.is_file():
        yield picture
    else:
        raise click.UsageError(f"{picture} is no URL, and there is no such file or folder.")


async def _moderate(settings: Settings, targets: list[str], as_json: bool) -> list[ResultRow]:
    rows = []
    async with open_engine(settings) as engine:
        async for row in _rows(engine, targets):
            rows.append(row)
            if as_json:
                click.echo(row.to_json())
            elif sys.stderr.isatty():
                click.echo(f"\r{len(rows)}/{len(targets)}", nl=len(rows) == len(targets), err=True)
    return rows


async def _rows(engine: Engine, targets: list[str]) -> AsyncIterator[ResultRow]:
    """The targets' rows, in the targets' order, a bounded number of them in the making."""
    places = asyncio.Semaphore(IN_FLIGHT)

    async def one(target: str) -> ResultRow:
        async with places:
            return await _look(engine, target)

    async with asyncio.TaskGroup() as group:
        for task in [group.create_task(one(target)) for target in targets]:
            yield await task


async def _look(engine: Engine, target: str) -> ResultRow:
    received_at, started_s = datetime.now(UTC), time.monotonic()
    if "://" in target:
        obtained = await engine.source.obtain(target)
    else:
        obtained = await engine.source.decode(Path(target).read_bytes())
    event = Event(user_id="local", image_url=target, username=None, country=None, event_time=None)
    return await engine.judge(event, obtained, source=None, received_at=received_at, started_s=started_s)
