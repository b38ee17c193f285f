"""The options that choose dead letters, shared by `dead-letters list` and `replay`."""

import re
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import wraps
from typing import Any

import click

from streamapp.cli.moment import Moment, PastMoment
from streamapp.dead_letters.reader import Choice
from streamapp.errors import DeadLetterReason
from streamapp.offsets import parse_offsets
from streamapp.reading import OffsetRange, Period

_POSITION = re.compile(r"(?:(?P<topic>[\w.-]+)\[(\d{1,9})\]@|(\d{1,9}):)(\d{1,18})", re.ASCII)


class Offsets(click.ParamType):
    """``PARTITION:FIRST-LAST``; without LAST up to the end, without the dash one offset."""

    name = "PARTITION:FIRST[-[LAST]]"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, OffsetRange]:
        """Read it."""
        try:
            asked = parse_offsets(str(value))
        except ValueError as exc:
            self.fail(str(exc), param, ctx)
        end = sys.maxsize if asked.last is None else asked.last + 1
        return asked.partition, OffsetRange(asked.first, end)


class Position(click.ParamType):
    """A dead letter's place: ``PARTITION:OFFSET``, or ``TOPIC[PARTITION]@OFFSET`` as `show` prints it."""

    name = "position"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str | None, int, int]:
        """Read it: the topic where it was given, the partition, the offset."""
        found = _POSITION.fullmatch(str(value))
        if found is None:
            self.fail(
                f"{value!r} is not like 3:41210, as `streamapp dead-letters list` prints it.", param, ctx
            )
        topic, after_topic, partition, offset = found.groups()
        return topic, int(after_topic or partition), int(offset)


_OPTIONS = [
    click.option("--since", type=PastMoment(), help="Not older: 2026-11-22T18:30 (UTC), or 30m, 2h, 7d ago."),
    click.option("--until", type=Moment(), help="Older than that."),
    click.option(
        "--reason",
        "reasons",
        multiple=True,
        type=click.Choice([reason.value for reason in DeadLetterReason]),
        help="Of this reason; may be given several times.",
    ),
    click.option(
        "--partition", "partitions", multiple=True, type=click.IntRange(0), help="Of this partition."
    ),
    click.option(
        "--offsets",
        multiple=True,
        type=Offsets(),
        help="With these offsets; may be given for several partitions.",
    ),
]


def choice_options(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options; it gets them as one argument `choice`."""

    @wraps(function)
    def with_choice(
        since: datetime | None,
        until: datetime | None,
        reasons: tuple[str, ...],
        partitions: tuple[int, ...],
        offsets: tuple[tuple[int, OffsetRange], ...],
        **others: Any,
    ) -> None:
        if since is not None and until is not None and until <= since:
            raise click.UsageError("--until is not later than --since: nothing can be between them.")
        choice = Choice(Period(since, until), frozenset(reasons), _places(partitions, offsets))
        function(choice=choice, **others)

    for option in reversed(_OPTIONS):
        with_choice = option(with_choice)
    return with_choice


def _places(partitions: Sequence[int], offsets: Sequence[tuple[int, OffsetRange]]) -> dict[int, OffsetRange]:
    whole = [(number, OffsetRange(0, sys.maxsize)) for number in sorted(set(partitions))]
    places: dict[int, OffsetRange] = {}
    for number, one in (*whole, *offsets):
        if number in places:
            raise click.UsageError(f"Partition {number} is named twice; give it one range.")
        places[number] = one
    return places
