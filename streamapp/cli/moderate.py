"""`streamapp moderate`: pictures from disk or the web to rows, without Kafka."""

import asyncio
import sys
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path

import click

from streamapp.cli.rows import row_table, summary
from streamapp.engine import Engine, open_engine
from streamapp.errors import FetchError
from streamapp.local.display import make_console
from streamapp.local.pictures import pictures_in
from streamapp.logs import configure_logs
from streamapp.obtain import Obtained
from streamapp.policy import load_policy
from streamapp.reasons import Reason
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

    A folder stands for all files in it that are not hidden. Exits with 0 also where pictures are to be
    moderated.
    """
    settings = load_settings()
    configure_logs("WARNING")
    targets = [target for picture in pictures for target in _targets(picture)]
    rows = asyncio.run(_moderate(settings, targets, as_json))
    if not as_json:
        make_console().print(row_table(rows, has_users=False))
        click.echo(summary(rows, "picture"))


def _targets(picture: str) -> Iterator[str]:
    if "://" in picture:
        yield picture
    else:
        yield from map(str, pictures_in(Path(picture)).values())


async def _moderate(settings: Settings, targets: list[str], as_json: bool) -> list[ResultRow]:
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


async def _rows(engine: Engine, settings: Settings, targets: list[str]) -> AsyncGenerator[ResultRow, None]:
    """The targets' rows, in the targets' order, a bounded number of them in the making."""
    places = asyncio.Semaphore(IN_FLIGHT)

    async def one(target: str) -> ResultRow:
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


async def _look(engine: Engine, settings: Settings, target: str) -> ResultRow:
    received_at, started_s = datetime.now(UTC), time.monotonic()
    if "://" in target:
        obtained = await engine.source.obtain(target)
    else:
        obtained = await _obtain_file(engine, Path(target), settings.max_download_bytes)
    event = Event(user_id="local", image_url=target, username=None, country=None, event_time=None)
    return await engine.judge(event, obtained, source=None, received_at=received_at, started_s=started_s)


async def _obtain_file(engine: Engine, file: Path, max_bytes: int) -> Obtained:
    """Read a local file under the bound of a download; one that can't be read is the picture's error."""
    started_s = time.monotonic()
    try:
        content = await asyncio.to_thread(_read, file, max_bytes)
    except FetchError as exc:
        return Obtained(None, exc, fetch_s=time.monotonic() - started_s)
    return await engine.source.decode(content)


def _read(file: Path, max_bytes: int) -> bytes:
    try:
        with file.open("rb") as opened:
            content = opened.read(max_bytes + 1)
    except OSError as exc:
        raise FetchError(Reason.REFUSED, f"{file} can't be read: {exc}.") from exc
    if len(content) > max_bytes:
        raise FetchError(Reason.TOO_LARGE, f"{file} has more than {max_bytes} bytes.")
    return content
