"""What `streamapp dead-letters replay` says, asks and does."""

import asyncio
import json
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field

import click
from rich.console import Console

from streamapp.dead_letters.letter import place_of
from streamapp.dead_letters.reader import Choice
from streamapp.dead_letters.replay import Decision, LeftOut, Replay
from streamapp.local.display import counted, make_console
from streamapp.reading import Ranges
from streamapp.settings import Settings

# Of each kind; the rest are counted. --json names all.
_NAMED = 20


@dataclass(frozen=True, slots=True)
class Options:
    """The options of a replay, as the command's help describes them."""

    max_replays: int
    again: bool
    as_json: bool


@dataclass(slots=True)
class Tally:
    """How many dead letters go which way; the first of each that are left out by name."""

    to_send: int = 0
    from_source: int = 0
    sent: int = 0
    left_out: Counter[LeftOut] = field(default_factory=Counter)
    named: dict[LeftOut, list[str]] = field(default_factory=dict)

    def add(self, decision: Decision) -> None:
        """Count one."""
        if decision.left_out is None:
            self.to_send += 1
            self.from_source += decision.letter.is_left_out
            self.sent += decision.sent_to is not None
            return
        self.left_out[decision.left_out] += 1
        names = self.named.setdefault(decision.left_out, [])
        if len(names) < _NAMED:
            names.append(decision.letter.place)

    def lines(self, settings: Settings) -> Iterator[str]:
        """The plan, a line for each way."""
        chosen = self.to_send + self.left_out.total()
        yield f"{chosen} dead letter{'' if chosen == 1 else 's'} chosen."
        source = f", {self.from_source} of them as read from there" if self.from_source else ""
        yield f"{self.to_send} to be sent back to {settings.events_topic}{source}."
        for why in self.left_out:
            yield self.line(why)

    def line(self, why: LeftOut) -> str:
        """Those that are left out for one reason, by name."""
        count = self.left_out[why]
        if why is LeftOut.REPLAYED:
            return f"{count} left out: {why} (--again sends them once more)."
        more = count - len(self.named[why])
        names = ", ".join(self.named[why]) + (f" and {more} more" if more else "")
        return f"{count} left out: {why}: {names}."


def replay_all(
    settings: Settings, choice: Choice, options: Options, *, is_dry: bool, is_confirmed: bool
) -> None:
    """Say what will be done, ask, do it, and say what was done.

    Raises:
        click.Abort: nobody answered, or a signal came; what had been sent is remembered.
        BrokerError: the broker stopped answering or did not take a record.
    """
    console = make_console()
    # Two loops, not one: nothing runs while the command waits for an answer, and Ctrl-C ends that wait.
    plan, ranges = asyncio.run(_plan(settings, choice, options, is_shown=options.as_json and is_dry))
    for line in plan.lines(settings):
        click.echo(line, err=options.as_json)
    if is_dry or not plan.to_send:
        return
    if not is_confirmed and not _answers_yes(f"Send {plan.to_send} records to {settings.events_topic}?"):
        click.echo("Nothing was sent.", err=True)
        raise SystemExit(1)
    asyncio.run(_send(settings, choice, options, ranges, plan, console))


async def _plan(
    settings: Settings, choice: Choice, options: Options, *, is_shown: bool
) -> tuple[Tally, Ranges]:
    tally = Tally()
    async with _open(settings, choice, options) as replay:
        async with aclosing(replay.planned()) as decisions:
            async for decision in decisions:
                tally.add(decision)
                if is_shown:
                    click.echo(_json_line(decision))
        return tally, replay.ranges


async def _send(
    settings: Settings, choice: Choice, options: Options, ranges: Ranges, plan: Tally, console: Console
) -> None:
    tally = Tally()
    stop = asyncio.Event()
    show = Console(stderr=True, highlight=False) if options.as_json else console
    try:
        with _stopped_by_signals(stop), counted(show, "sent back", plan.to_send) as count_one:
            async with (
                _open(settings, choice, options, ranges) as replay,
                aclosing(replay.send(stop)) as decisions,
            ):
                async for decision in decisions:
                    tally.add(decision)
                    if decision.sent_to is not None:
                        count_one()
                    if options.as_json:
                        click.echo(_json_line(decision))
    finally:
        sent = f"Sent {tally.sent} of {plan.to_send} records back to {settings.events_topic}."
        click.echo(sent, err=options.as_json)
        for why in tally.left_out:
            if tally.left_out[why] > plan.left_out[why]:
                click.echo(tally.line(why), err=options.as_json)
    if stop.is_set() and tally.sent < plan.to_send:
        click.echo(
            "Stopped. What was sent is remembered: the same command, without --again, goes on with the rest.",
            err=True,
        )
        raise click.Abort


def _open(settings: Settings, choice: Choice, options: Options, ranges: Ranges | None = None) -> Replay:
    return Replay(settings, choice, max_replays=options.max_replays, again=options.again, ranges=ranges)


def _answers_yes(question: str) -> bool:
    try:
        return click.confirm(question)
    except click.Abort:
        click.echo("\nNothing was sent; --yes sends without asking.", err=True)
        raise


@contextmanager
def _stopped_by_signals(stop: asyncio.Event) -> Iterator[None]:
    """Let SIGINT and SIGTERM end the replay between two fetches: what is on its way is waited for."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def _json_line(decision: Decision) -> str:
    sent_to = decision.sent_to
    return json.dumps(
        {
            "dead_letter": decision.letter.place,
            "source": place_of(decision.letter.source),
            "reason": decision.letter.reason,
            "replays": decision.replays,
            "left_out": None if decision.left_out is None else decision.left_out.name.lower(),
            "sent_to": None if sent_to is None else place_of(sent_to),
        }
    )
