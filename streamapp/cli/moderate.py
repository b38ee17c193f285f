"""`streamapp moderate`: pictures from disk or the web to rows, without Kafka."""

import asyncio
import sys
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import click

from streamapp.cli.rows import row_table, summary
from streamapp.engine import Engine, open_engine
from streamapp.errors import FetchError
from streamapp.fetch.inline import is_inline, is_url, name_of, read_inline
from streamapp.local.display import make_console
from streamapp.local.pictures import pictures_in
from streamapp.logs import configure_logs
from streamapp.obtain import Obtained
from streamapp.policy import load_policy
from streamapp.records import Event, ResultRow
from streamapp.settings import Settings, export_aws_variables, load_settings_with_origins

# Pictures that are worked on at the same time: enough to fill the models' batches.
IN_FLIGHT = 16


@click.command(
    "moderate",
    epilog="""\b
Examples:
  streamapp moderate portrait.jpg
  streamapp moderate pictures/ --json > rows.jsonl
  streamapp moderate https://example.com/a.png
  STREAMAPP_S3_BUCKETS=pictures streamapp moderate s3://pictures/users/a.png
  STREAMAPP_ALLOW_PRIVATE_HOSTS=127.0.0.1 streamapp moderate http://127.0.0.1:8000/a.png
""",
)
@click.argument("pictures", nargs=-1, required=True, metavar="PATH_OR_URL...")
@click.option("--json", "as_json", is_flag=True, help="JSON lines, as they would be on the results topic.")
def command(pictures: tuple[str, ...], as_json: bool) -> None:
    """Moderate pictures here and now: the same code from fetch to row as in the worker.

    A folder stands for all files in it that are not hidden. URLs are those that the worker fetches, and
    data: and file: besides. Exits with 0 also where pictures are to be moderated.
    """
    loaded = load_settings_with_origins()
    settings = loaded.settings
    export_aws_variables(loaded)
    configure_logs("WARNING")
    targets = [target for picture in pictures for target in _targets(picture)]
    rows = asyncio.run(_moderate(settings, targets, as_json))
    if not as_json:
        make_console().print(row_table(rows, has_users=False))
        click.echo(summary(rows, "picture"))


def _targets(picture: str) -> Iterator[Path | str]:
    if is_url(picture):
        yield picture
    else:
        yield from pictures_in(Path(picture)).values()


async def _moderate(settings: Settings, targets: list[Path | str], as_json: bool) -> list[ResultRow]:
    rows = []
    policy = load_policy(settings.policy_file)
    async with (
        open_engine(settings, policy) as engine,
        aclosing(_rows(engine, settings, targets)) as made,
    ):
        async for row in made:
            rows.append(row)
            if as_json:
                click.echo(row.to_json())
            elif sys.stderr.isatty():
                click.echo(f"\r{len(rows)}/{len(targets)}", nl=len(rows) == len(targets), err=True)
    return rows


async def _rows(
    engine: Engine, settings: Settings, targets: list[Path | str]
) -> AsyncGenerator[ResultRow, None]:
    """The targets' rows, in the targets' order, a bounded number of them in the making."""
    places = asyncio.Semaphore(IN_FLIGHT)

    async def one(target: Path | str) -> ResultRow:
        async with places:
            return await _look(engine, settings, target)

    tasks = [asyncio.create_task(one(target)) for target in targets]
    try:
        for task in tasks:
            yield await task
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _look(engine: Engine, settings: Settings, target: Path | str) -> ResultRow:
    received_at, started_s = datetime.now(UTC), time.monotonic()
    if is_inline(target):
        obtained = await _obtain_inline(engine, target, settings.max_download_bytes)
    else:
        obtained = await engine.source.obtain(str(target))
    event = Event("local", name_of(target), username=None, country=None, event_time=None)
    return await engine.judge(event, obtained, source=None, received_at=received_at, started_s=started_s)


async def _obtain_inline(engine: Engine, target: Path | str, max_bytes: int) -> Obtained:
    """What is here already goes the same way; where it can't be read, that is the picture's error."""
    started_s = time.monotonic()
    try:
        content = await read_inline(target, max_bytes)
    except FetchError as exc:
        return Obtained(None, exc, attempts=exc.attempts, fetch_s=time.monotonic() - started_s)
    return replace(await engine.source.decode(content), attempts=0)
