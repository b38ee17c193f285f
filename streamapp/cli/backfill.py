"""`streamapp backfill`: judge events again that the topic still holds."""

import asyncio
import os
import re
import secrets
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NoReturn

import click
from rich.console import Console

from streamapp.agents.publish import Publisher
from streamapp.backfill.display import backfill_progress, log_above_bar, show_end, show_plan
from streamapp.backfill.plan import Plan
from streamapp.backfill.planning import Request, find_plan, group_of
from streamapp.backfill.ranges import Asked, check_partitions_once, time_span
from streamapp.backfill.run import Backfill
from streamapp.backfill.selection import Selection, select
from streamapp.backfill.source import Source, open_source
from streamapp.batching import BatchTimeoutError, DeviceLostError
from streamapp.cli.moment import Moment
from streamapp.engine import open_engine
from streamapp.errors import BrokerError
from streamapp.local.display import make_console, step
from streamapp.logs import configure_logs
from streamapp.offsets import parse_offsets
from streamapp.pace import Pace
from streamapp.policy import load_policy
from streamapp.reasons import Reason
from streamapp.settings import Settings, export_aws_variables, load_settings, load_settings_with_origins
from streamapp.topics import ensure_topics

_RUN_ID = re.compile(r"[A-Za-z0-9._-]{1,80}", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Options:
    """The command's options, as its help describes them."""

    request: Request
    rate_per_s: float | None
    is_dry_run: bool


@click.command(
    "backfill",
    epilog="""\b
Examples:
  streamapp backfill --from 2026-11-22T18:00 --to 2026-11-22T19:30 --dry-run
  streamapp backfill --from 2026-11-22T18:00 --to 2026-11-22T19:30 --rate 50
  streamapp backfill --from 2026-11-22 --only-reason circuit_open,timeout --run cdn-outage
  streamapp backfill --offsets 3:41210-41999 --offsets 5:100- --results-topic retagged
  streamapp backfill --run cdn-outage      go on with a run that was stopped
""",
)
@click.option(
    "--from",
    "start",
    type=Moment(),
    help="Begin with the first event of this time: 2026-11-22T18:30 (UTC), or 30m, 2h, 7d ago.",
)
@click.option("--to", "end", type=Moment(), help="End before the first event of this time; without: now.")
@click.option(
    "--offsets",
    multiple=True,
    metavar="PARTITION:FIRST-LAST",
    help="Re-read these offsets, both included; without LAST up to now. May be given for several partitions.",
)
@click.option("--run", "run", metavar="ID", help="The run's id; one that was stopped goes on where it was.")
@click.option(
    "--rate", "rate_per_s", type=click.FloatRange(min=0, min_open=True), help="Events per second, at most."
)
@click.option("--results-topic", metavar="TOPIC", help="Write the rows here, not where the workers do.")
@click.option(
    "--only-reason",
    metavar="REASON,...",
    help="Only events whose latest row on the workers' results topic has this reason, or one of these.",
)
@click.option("--dry-run", "is_dry_run", is_flag=True, help="Only show what would be re-read.")
def command(
    start: datetime | None,
    end: datetime | None,
    offsets: tuple[str, ...],
    run: str | None,
    rate_per_s: float | None,
    results_topic: str | None,
    only_reason: str | None,
    is_dry_run: bool,
) -> None:
    """Judge events again that the events topic still holds, and publish their rows.

    The rows have the run's id as MODEL_ATTRIBUTES.PROVENANCE.backfill. The workers are not disturbed: a run
    reads by itself, keeps its progress in a consumer group of its own, and ends with what the topic held
    when it began. Times are those of the records in Kafka. Records that are no event are counted and left
    out: they are dead letters already.

    Ctrl-C or SIGTERM finish what is in flight; --run ID goes on with it, also after a crash, with no event
    left out, for as long as Kafka keeps the offsets (7 days). A command that names its --run and gives times,
    not ages, may be run again as it is. Exits with 0 where the run is done, 1 after an error, 130 (SIGTERM:
    143) if stopped.
    """
    if run is not None and _RUN_ID.fullmatch(run) is None:
        raise click.UsageError(f"--run {run!r} has other characters than A-Z a-z 0-9 . _ - or more than 80.")
    asked = _asked(start, end, offsets)
    if asked is None and run is None:
        raise click.UsageError("Give --from or --offsets, or --run with the id of a run to go on with.")
    request = Request(run or _new_run_id(), asked, results_topic, _reasons(only_reason))
    loaded = load_settings_with_origins()
    if results_topic is not None:
        load_settings(results_topic=results_topic)  # refuses what is no topic's name
    export_aws_variables(loaded)
    configure_logs("WARNING")
    options = _Options(request, rate_per_s, is_dry_run)
    raise SystemExit(asyncio.run(_backfill(loaded.settings, options, make_console())))


def _asked(start: datetime | None, end: datetime | None, offsets: tuple[str, ...]) -> Asked | None:
    if offsets and (start or end):
        raise click.UsageError("Give times or --offsets, not both.")
    try:
        if offsets:
            asked = tuple(parse_offsets(text) for text in offsets)
            check_partitions_once(asked)
            return asked
        if start:
            return time_span(start, end, datetime.now(UTC))
    except ValueError as exc:
        raise click.UsageError(str(exc)) from exc
    if end:
        raise click.UsageError("--to needs --from.")
    return None


def _reasons(text: str | None) -> tuple[str, ...]:
    reasons = tuple(dict.fromkeys(name.strip() for name in (text or "").split(",") if name.strip()))
    unknown = [name for name in reasons if name not in set(Reason)]
    if unknown or (text is not None and not reasons):
        raise click.UsageError(
            f"--only-reason {text!r} is not of the reasons that rows have: {', '.join(Reason)}."
        )
    return reasons


def _new_run_id() -> str:
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


async def _backfill(settings: Settings, options: _Options, console: Console) -> int:
    """Plan, show the plan, do it; returns the exit code."""
    run = options.request.run
    async with open_source(settings, group_of(settings.group, run)) as source:
        plan = await find_plan(source, options.request, settings.results_topic)
        if not plan.left:
            console.print(f"The run {run} is done: nothing is left of its {plan.offsets} offsets.")
            return 0
        target = await _with_results_topic(settings, plan)
        # Before the rows are read, which takes long: whoever takes the same id meanwhile finds this plan.
        go_on = None if options.is_dry_run else await _begin(source, plan, options.rate_per_s)
        code = 1
        try:
            selection = await _select(settings, plan, console)
            show_plan(console, plan, source.topic, selection, options.rate_per_s, is_dry=options.is_dry_run)
            if options.is_dry_run:
                return 0
            console.print(
                "This broker does not keep the plan of a run: if this one is stopped, nothing goes on with "
                "it, and another one begins anew."
                if go_on is None
                else f"If it is stopped, this goes on with it: {go_on}",
                soft_wrap=True,
            )
            code = await _work(target, plan, source, selection, options.rate_per_s, go_on, console)
        finally:
            if code and go_on is not None:
                console.print(f"This goes on with it: {go_on}", soft_wrap=True)
        return code


async def _with_results_topic(settings: Settings, plan: Plan) -> Settings:
    """The settings with the plan's results topic.

    Raises:
        BrokerError: the broker has no such topic.
    """
    target = settings.model_copy(update={"results_topic": plan.results_topic})
    topics = {topic.name: topic.partitions for topic in await ensure_topics(target, create=False)}
    if not topics[plan.results_topic]:
        raise BrokerError(
            f"The broker at {settings.brokers} has no topic {plan.results_topic}: "
            f"`STREAMAPP_RESULTS_TOPIC={plan.results_topic} streamapp topics` creates it."
        )
    return target


async def _begin(source: Source, plan: Plan, rate_per_s: float | None) -> str | None:
    """Commit the plan: from here on the run's id is enough to go on.

    Returns:
        The command that goes on with it; None where the broker does not keep the plan.

    Raises:
        BrokerError: the broker did not take it.
    """
    await source.commit(plan.done, plan)
    if not await source.keeps(plan):
        return None
    rate = "" if rate_per_s is None else f" --rate {rate_per_s:g}"
    return f"streamapp backfill --run {plan.run}{rate}"


async def _select(settings: Settings, plan: Plan, console: Console) -> Selection | None:
    if not plan.only_reasons:
        return None
    doing = f"Reading the rows of {settings.results_topic}"
    with console.status(doing) as status:

        def show(done: int, total: int) -> None:
            status.update(f"{doing}: {done} of {total}")

        return await select(settings, plan.left, plan.only_reasons, show)


async def _work(
    settings: Settings,
    plan: Plan,
    source: Source,
    selection: Selection | None,
    rate_per_s: float | None,
    go_on: str | None,
    console: Console,
) -> int:
    policy = load_policy(settings.policy_file)
    done_before = plan.offsets - plan.offsets_left
    async with AsyncExitStack() as stack:
        with step(console, f"Loading the models: {', '.join(settings.models)}"):
            engine = await stack.enter_async_context(open_engine(settings, policy, backfill=plan.run))
        publisher = await stack.enter_async_context(Publisher(settings))
        on_event = stack.enter_context(backfill_progress(console, done_before, plan.offsets))
        stack.enter_context(log_above_bar())
        backfill = Backfill(
            settings,
            plan,
            source,
            engine,
            publisher,
            pace=Pace(rate_per_s),
            selection=selection,
            on_event=on_event,
        )
        signals = stack.enter_context(_signals_to(backfill, console))
        started_s = time.monotonic()
        try:
            await backfill.run()
        except (BatchTimeoutError, DeviceLostError) as exc:
            _end_with_lost_model(exc, go_on)
        seconds = time.monotonic() - started_s
    show_end(console, plan.run, backfill, seconds)
    return 0 if backfill.is_complete else 128 + signals[0]


@contextmanager
def _signals_to(backfill: Backfill, console: Console) -> Iterator[list[int]]:
    """SIGINT and SIGTERM stop the run in order, a second one at once; gives those that came."""
    loop = asyncio.get_running_loop()
    came: list[int] = []

    def stop(number: int) -> None:
        came.append(number)
        backfill.stop()
        if len(came) == 1:
            console.print(f"Stopping: {backfill.in_flight} events are in flight. Ctrl-C again gives them up.")
        else:
            console.print(f"{backfill.in_flight} events in flight are given up.")

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)
    try:
        yield came
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def _end_with_lost_model(error: Exception, go_on: str | None) -> NoReturn:
    """End the process: Python would wait for a hung model's thread for ever. What is done is committed."""
    what_next = "begin it anew." if go_on is None else f"this goes on with it: {go_on}"
    click.echo(f"streamapp: {error} Nothing is lost; {what_next}", err=True)
    sys.stdout.flush()
    os._exit(1)
