"""`streamapp dead-letters`: look at what could not be read as an event, and send it back."""

import asyncio
import heapq
import json
from collections import Counter

import click
from aiokafka import TopicPartition

from streamapp.cli.letter_options import Position, choice_options
from streamapp.cli.letters import (
    escaped,
    hex_lines,
    letter_lines,
    letter_object,
    letter_table,
    preview,
    value_lines,
)
from streamapp.cli.replaying import Options, replay_all
from streamapp.dead_letters.ledger import read_ledger
from streamapp.dead_letters.letter import DeadLetter, read_dead_letter
from streamapp.dead_letters.reader import Choice, open_dead_letters
from streamapp.local.display import make_console
from streamapp.logs import configure_logs
from streamapp.settings import Settings, load_settings

_LAST = 50


@click.group(
    "dead-letters",
    epilog="""\b
Examples:
  streamapp dead-letters list --since 24h
  streamapp dead-letters show 3:41210
  streamapp dead-letters replay --reason no_user_id --since 24h --dry-run
""",
)
def command() -> None:
    """Records that could not be read as events: list them, show one, send them back.

    They are read without a consumer group: nothing is taken from anyone.
    """
    configure_logs("WARNING")


@command.command(
    "list",
    epilog="""\b
Examples:
  streamapp dead-letters list
  streamapp dead-letters list --since 2026-11-22T06:00 --until 2026-11-22T07:30 --all
  streamapp dead-letters list --reason not_json --offsets 3:41000-42000 --json
""",
)
@choice_options
@click.option(
    "--last",
    default=_LAST,
    show_default=True,
    type=click.IntRange(1),
    help="Show the newest of those chosen.",
)
@click.option("--all", "show_all", is_flag=True, help="Show all of those chosen.")
@click.option("--json", "as_json", is_flag=True, help="JSON lines, whole; bytes that are no UTF-8 as base64.")
def list_letters(choice: Choice, last: int, show_all: bool, as_json: bool) -> None:
    """List dead letters, oldest first: where, when, why, whence, and how the value begins.

    A ✓ beside the replays says that it has been sent back already.
    """
    asyncio.run(_list(load_settings(), choice, None if show_all else last, as_json))


async def _list(settings: Settings, choice: Choice, last: int | None, as_json: bool) -> None:
    reasons: Counter[str] = Counter()
    newest: list[tuple[tuple[float, int, int], DeadLetter]] = []
    async with open_dead_letters(settings) as reader:
        remembered = await read_ledger(settings, reader.held)

        def is_sent_back(letter: DeadLetter) -> bool:
            place = TopicPartition(letter.position.topic, letter.position.partition)
            return letter.position.offset in remembered[place]

        def print_json(letter: DeadLetter) -> None:
            click.echo(json.dumps(letter_object(letter, is_sent_back=is_sent_back(letter))))

        async for letters in reader.read(choice, await reader.ranges(choice)):
            for letter in letters:
                reasons[letter.reason] += 1
                if as_json and last is None:
                    print_json(letter)
                    continue
                heapq.heappush(newest, (_age(letter), letter if as_json else preview(letter)))
                if last is not None and len(newest) > last:
                    heapq.heappop(newest)
    shown = [letter for _, letter in sorted(newest, key=lambda one: one[0])]
    if as_json:
        for letter in shown:
            print_json(letter)
        return
    if shown:
        table = letter_table([(letter, is_sent_back(letter)) for letter in shown], settings.events_topic)
        make_console().print(table)
    click.echo(_summary(reasons, len(shown)))


@command.command(
    "show",
    epilog="""\b
Examples:
  streamapp dead-letters show 3:41210
  streamapp dead-letters show 3:41210 --hex | less
  streamapp dead-letters show 3:41210 --raw > value.json
""",
)
@click.argument("position", type=Position())
@click.option("--hex", "as_hex", is_flag=True, help="The value as hex; by default only where it is no UTF-8.")
@click.option("--raw", "is_raw", is_flag=True, help="The value's bytes as they are, and nothing else.")
@click.option("--json", "as_json", is_flag=True, help="All of it as one JSON object.")
def show(position: tuple[str | None, int, int], as_hex: bool, is_raw: bool, as_json: bool) -> None:
    """Show one dead letter whole: why, whence, its headers and its value.

    POSITION is PARTITION:OFFSET on the dead-letter topic, as `list` prints it.
    """
    if as_hex + is_raw + as_json > 1:
        raise click.UsageError("--hex, --raw and --json: one of them.")
    settings = load_settings()
    topic, partition, offset = position
    if topic not in (None, settings.dead_letter_topic):
        raise click.UsageError(
            f"{topic} is not the dead-letter topic, which is {settings.dead_letter_topic}; `streamapp "
            "dead-letters list` shows the dead letter of each source position."
        )
    letter, is_sent_back = asyncio.run(_read(settings, partition, offset))
    value = letter.value or b""
    if is_raw:
        click.echo(value, nl=False)
    elif as_json:
        click.echo(json.dumps(letter_object(letter, is_sent_back=is_sent_back)))
    else:
        lines = hex_lines(value) if as_hex else value_lines(value)
        for line in (*letter_lines(letter, is_sent_back=is_sent_back), *(lines if value else ())):
            click.echo(line)


async def _read(settings: Settings, partition: int, offset: int) -> tuple[DeadLetter, bool]:
    async with open_dead_letters(settings) as reader:
        record = await reader.one(partition, offset)
        letter = read_dead_letter(record)
        if letter is None:
            headers = ", ".join(escaped(name) for name, _ in record.headers) or "none"
            raise click.ClickException(
                f"{partition}:{offset} was not written by streamapp; it has these headers: {headers}."
            )
        remembered = await read_ledger(settings, reader.held)
        return letter, offset in remembered[TopicPartition(record.topic, partition)]


@command.command(
    "replay",
    epilog="""\b
Examples:
  streamapp dead-letters replay --reason no_user_id --since 24h --dry-run
  streamapp dead-letters replay --reason no_user_id --since 24h
  streamapp dead-letters replay --offsets 3:41210 --yes
""",
)
@choice_options
@click.option(
    "--max-replays",
    default=3,
    show_default=True,
    type=click.IntRange(1),
    help="Leave out what has been sent back so often and became a dead letter each time.",
)
@click.option("--again", is_flag=True, help="Send also those dead letters that have been sent back already.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--yes", "is_confirmed", is_flag=True, help="Do not ask.")
@click.option(
    "--json", "as_json", is_flag=True, help="What becomes of each, as JSON lines; needs --yes or --dry-run."
)
def replay(
    choice: Choice, max_replays: int, again: bool, dry_run: bool, is_confirmed: bool, as_json: bool
) -> None:
    """Send dead letters back to the events topic, with their key, value and headers.

    Only those that are there now. Each gets the header streamapp.replays, which counts how often it was sent
    back, also over later dead letters of it. What was sent is remembered in Kafka, in the committed offsets
    of the group <STREAMAPP_GROUP>-replays: an interrupted replay that is repeated goes on with the rest. The
    dead letters themselves stay until Kafka deletes them.
    """
    if as_json and not (dry_run or is_confirmed):
        raise click.UsageError("--json asks nothing: give --yes or --dry-run with it.")
    options = Options(max_replays=max_replays, again=again, as_json=as_json)
    replay_all(load_settings(), choice, options, is_dry=dry_run, is_confirmed=is_confirmed)


def _age(letter: DeadLetter) -> tuple[float, int, int]:
    return letter.published_at.timestamp(), letter.position.partition, letter.position.offset


def _summary(reasons: Counter[str], shown: int) -> str:
    count = reasons.total()
    plural = "" if count == 1 else "s"
    most_first = sorted(reasons.items(), key=lambda one: (-one[1], one[0]))
    counts = ", ".join(f"{number} {escaped(reason)}" for reason, number in most_first)
    rest = "" if shown == count else f" The newest {shown} are shown; --all shows every one."
    return f"{count} dead letter{plural}{': ' if counts else ''}{counts}.{rest}"
