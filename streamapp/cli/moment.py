"""Moments on the command line: a time, or how long ago."""

import re
from datetime import UTC, datetime, timedelta

import click

_AGO = re.compile(r"(\d{1,6})([smhd])", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class Moment(click.ParamType):
    """A click type: ISO 8601, UTC where it has no zone, or an age such as 90s, 30m, 2h, 7d."""

    name = "time"

    def convert(
        self, value: str | datetime, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """Read it; an aware moment in UTC."""
        if isinstance(value, datetime):
            return value
        try:
            if ago := _AGO.fullmatch(value.strip()):
                return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
            moment = datetime.fromisoformat(value.strip())
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
        except (ValueError, OverflowError):
            self.fail(
                f"{value!r} is no time like 2026-11-22T18:30, 2026-11-22, …T18:30+01:00 or 2h.", param, ctx
            )


class PastMoment(Moment):
    """The same, but not in the future: a local time that is taken for UTC would choose nothing, silently."""

    def convert(
        self, value: str | datetime, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """Read it, as `Moment` does."""
        moment, now = super().convert(value, param, ctx), datetime.now(UTC)
        if moment > now:
            self.fail(
                f"{value!r} is in the future: it is {now:%Y-%m-%dT%H:%M}. Times without a zone are UTC.",
                param,
                ctx,
            )
        return moment
