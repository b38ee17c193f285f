"""Moments on the command line."""

from datetime import UTC, datetime, timedelta

import click
import pytest

from streamapp.cli.moment import Moment, PastMoment


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-22T18:30", "2026-11-22T18:30:00+00:00"),
        ("2026-11-22 18:30:05", "2026-11-22T18:30:05+00:00"),
        ("2026-11-22", "2026-11-22T00:00:00+00:00"),
        ("2026-11-22T18:30+01:00", "2026-11-22T17:30:00+00:00"),
        ("2026-11-22T18:30Z", "2026-11-22T18:30:00+00:00"),
    ],
)
def test_a_time_without_a_zone_is_utc(text: str, expected: str) -> None:
    assert Moment().convert(text, None, None).isoformat() == expected


@pytest.mark.parametrize(
    ("text", "age"),
    [
        ("90s", timedelta(seconds=90)),
        ("30m", timedelta(minutes=30)),
        ("2h", timedelta(hours=2)),
        ("7d", timedelta(days=7)),
    ],
)
def test_an_age_counts_back_from_now(text: str, age: timedelta) -> None:
    before = datetime.now(UTC)
    moment = Moment().convert(text, None, None)

    assert before - age <= moment <= datetime.now(UTC) - age


@pytest.mark.parametrize("text", ["", "yesterday", "18:30", "2h ago", "-2h", "2026-13-01", "999999d", "٢h"])
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(click.BadParameter, match="2026-11-22T18:30"):
        Moment().convert(text, None, None)


def test_a_local_time_that_is_taken_for_utc_is_told_where_it_lies_ahead() -> None:
    in_an_hour = datetime.now(UTC) + timedelta(hours=1)
    with pytest.raises(click.BadParameter, match=r"is in the future: .*Times without a zone are UTC"):
        PastMoment().convert(in_an_hour.strftime("%Y-%m-%dT%H:%M"), None, None)

    assert PastMoment().convert("2h", None, None) < datetime.now(UTC)
