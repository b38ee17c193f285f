"""`streamapp plan`: how many workers, partitions and nodes a load needs."""
# ruff: noqa: RUF001  (the formulas have multiplication and minus signs)

import json
import math
from collections.abc import Iterator
from dataclasses import asdict

import click
from rich import box
from rich.table import Table
from rich.text import Text

from streamapp.local.display import make_console
from streamapp.plan import PARTITIONS_PER_WORKER, Aims, Load, Plan, Worker, lag_seconds, plan
from streamapp.settings import Settings, load_settings

MINUTE_S = 60.0
MAX_NUMBER = 1e9


class _Number(click.ParamType):
    """A finite number up to 10⁹; above 0, or from 0 on."""

    name = "number"

    def __init__(self, *, is_zero_fine: bool = False, most: float = MAX_NUMBER) -> None:
        self._is_zero_fine = is_zero_fine
        self._most = most

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not (0 <= number <= self._most and (number > 0 or self._is_zero_fine)):
            bound = "from 0" if self._is_zero_fine else "above 0 and"
            self.fail(f"{value!r} is not a number {bound} up to {self._most:g}.", param, ctx)
        return number


@click.command(
    "plan",
    epilog="""\b
Examples:
  streamapp plan --events-per-second 100 --images-per-second 13.5
  streamapp plan --events-per-second 300 --images-per-second 100 --node-cost-per-hour 0.60
  streamapp plan --events-per-second 300 --images-per-second 100 --catch-up-minutes 30
  streamapp plan --events-per-second 300 --images-per-second 100 --partitions 12
  streamapp plan --events-per-second 300 --images-per-second 100 --json | jq .workers
""",
)
@click.option("--events-per-second", type=_Number(), required=True, help="Events that come in, at the peak.")
@click.option(
    "--images-per-second",
    type=_Number(),
    required=True,
    help="Key frames that one worker does, from event to row: measure it (benchmarks/end_to_end.py).",
)
@click.option("--workers-per-node", type=click.IntRange(1), default=1, show_default=True)
@click.option(
    "--picture-share",
    type=_Number(most=1),
    default=1.0,
    show_default=True,
    help="Share of the events that carry a picture.",
)
@click.option(
    "--frames-per-picture",
    type=_Number(),
    default=1.0,
    show_default=True,
    help="Key frames of a picture, mean; more than 1 where users have animations or videos.",
)
@click.option(
    "--fetch-seconds", type=_Number(), default=0.5, show_default=True, help="Time of a download, mean."
)
@click.option(
    "--picture-kb", type=_Number(), default=250.0, show_default=True, help="Size of a file in kB, mean."
)
@click.option(
    "--host-share",
    type=_Number(most=1),
    default=1.0,
    show_default=True,
    help="Share of the pictures that are on the busiest host: 1 where all are on one CDN.",
)
@click.option(
    "--headroom",
    type=_Number(is_zero_fine=True),
    default=0.3,
    show_default=True,
    help="Capacity beyond the peak, as a share of it.",
)
@click.option(
    "--outage-minutes",
    type=_Number(is_zero_fine=True),
    default=10.0,
    show_default=True,
    help="How long all stood still, for the time to catch up.",
)
@click.option("--catch-up-minutes", type=_Number(), help="Longest time to catch up after that; adds workers.")
@click.option("--partitions", type=click.IntRange(1, 100_000), help="Of the events topic, where it exists.")
@click.option("--node-cost-per-hour", type=_Number(), help="Price of a node, in any currency.")
@click.option(
    "--idle-memory-mb",
    type=_Number(),
    default=2600.0,
    show_default=True,
    help="Memory of a worker that is warm and has nothing to do; measured with all four models on a CPU.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object, in the units of the names.")
def command(
    events_per_second: float,
    images_per_second: float,
    workers_per_node: int,
    picture_share: float,
    frames_per_picture: float,
    fetch_seconds: float,
    picture_kb: float,
    host_share: float,
    headroom: float,
    outage_minutes: float,
    catch_up_minutes: float | None,
    partitions: int | None,
    node_cost_per_hour: float | None,
    idle_memory_mb: float,
    as_json: bool,
) -> None:
    """Say how many workers, partitions and nodes a load needs, and what each worker needs.

    The rates are yours to measure; limits of a worker (downloads, memory) are those of the settings. Exits
    with 1 where a setting would keep a worker from its rate.
    """
    settings = load_settings()
    load = Load(
        events_per_second, picture_share, frames_per_picture, fetch_seconds, picture_kb * 1e3, host_share
    )
    worker = Worker(images_per_second, workers_per_node, idle_memory_mb * 1e6)
    aims = Aims(
        headroom=headroom,
        outage_s=outage_minutes * MINUTE_S,
        catch_up_s=None if catch_up_minutes is None else catch_up_minutes * MINUTE_S,
        partitions=partitions,
        node_cost_per_hour=node_cost_per_hour,
    )
    found = plan(load, worker, aims, settings)
    if as_json:
        finite = {name: None if value == math.inf else value for name, value in asdict(found).items()}
        click.echo(json.dumps(finite, indent=2))
    else:
        _print(load, worker, aims, settings, found)
    if found.shortcomings:
        raise SystemExit(1)


def _print(load: Load, worker: Worker, aims: Aims, settings: Settings, found: Plan) -> None:
    console = make_console()
    table = Table(box=box.SIMPLE)
    table.add_column("what", no_wrap=True)
    table.add_column("needed", justify="right", no_wrap=True)
    table.add_column("how", ratio=1)
    for what, value, how in _rows(load, worker, aims, settings, found):
        table.add_row(Text(what), Text(value, "bold"), Text(how))
    console.print(table)
    for shortcoming in found.shortcomings:
        console.print(Text(shortcoming, "yellow"))


def _rows(
    load: Load, worker: Worker, aims: Aims, settings: Settings, found: Plan
) -> Iterator[tuple[str, str, str]]:
    """Each result with its formula in words."""
    yield (
        "frames",
        f"{load.frames_per_second:,.1f} /s",
        f"{load.events_per_second:g} events/s × {load.picture_share:g} with a picture × "
        f"{load.frames_per_picture:g} key frames",
    )
    yield "capacity", f"{found.capacity_needed:,.1f} /s", _capacity_in_words(load, aims, found)
    yield (
        "workers",
        f"{found.workers:,}",
        f"capacity ÷ {worker.images_per_second:g} frames/s of a worker, rounded up"
        + ("" if aims.partitions is None else "; a worker has whole partitions"),
    )
    yield "nodes", f"{found.nodes:,}", f"workers ÷ {worker.per_node} on a node, rounded up"
    yield (
        "partitions",
        f"{found.partitions:,}",
        "as given"
        if aims.partitions is not None
        else f"{PARTITIONS_PER_WORKER} × workers: at least as many as there may ever be workers",
    )
    yield "busy", f"{found.busy:.0%}", "the busiest worker's partitions at the peak ÷ its rate"
    yield (
        "catching up",
        _duration(found.catch_up_s),
        f"after {_duration(aims.outage_s)} of standstill: outage × busy ÷ (1 − busy)",
    )
    yield from _worker_rows(load, worker, settings, found)
    if found.cost_per_million is not None:
        yield (
            "cost",
            f"{found.cost_per_million:,.2f}",
            f"for a million pictures at this rate: nodes × {aims.node_cost_per_hour:g} ÷ pictures an hour",
        )


def _worker_rows(
    load: Load, worker: Worker, settings: Settings, found: Plan
) -> Iterator[tuple[str, str, str]]:
    """What one worker needs to run at its full rate."""
    yield (
        "downloads in flight",
        f"{found.downloads_in_flight:,}",
        f"a worker's pictures/s × {load.fetch_s:g} s each (Little); DOWNLOADS_IN_FLIGHT is "
        f"{settings.downloads_in_flight:,}",
    )
    yield (
        "from one host",
        f"{found.downloads_per_host:,}",
        f"of these, × {load.host_share:g} on the busiest host; DOWNLOADS_PER_HOST is "
        f"{settings.downloads_per_host:,}",
    )
    yield (
        "not yet committed",
        f"{found.uncommitted_events:,}",
        f"a worker's events/s × {settings.fetch_deadline_s:g} s that a dead URL takes; UNACKED_EVENTS is "
        f"{settings.unacked_events:,}",
    )
    yield (
        "lagThreshold",
        f"{found.lag_threshold:,}",
        f"a worker's events/s × {lag_seconds(settings):g} s, twice FETCH_DEADLINE_S: for KEDA",
    )
    yield (
        "bandwidth",
        f"{found.worker_mbit_per_s:,.0f} Mbit/s",
        f"a worker's pictures/s × {load.picture_bytes / 1e3:g} kB × 8; all workers "
        f"{found.fleet_mbit_per_s:,.0f} Mbit/s",
    )
    yield (
        "memory",
        f"{found.memory_bytes / 1e9:.1f} GB",
        f"of a worker at the most: {worker.idle_bytes / 1e9:g} GB idle + downloads + pictures + decoders, as "
        "the settings bound them",
    )


def _capacity_in_words(load: Load, aims: Aims, found: Plan) -> str:
    if found.capacity_needed <= load.frames_per_second * (1 + aims.headroom) or aims.catch_up_s is None:
        return f"frames × (1 + {aims.headroom:g} headroom)"
    return (
        f"frames × (1 + {_duration(aims.outage_s)} of standstill ÷ {_duration(aims.catch_up_s)} to catch up)"
    )


def _duration(seconds: float) -> str:
    """In the unit that reads best; rounded up."""
    if seconds == math.inf:
        return "never"
    # What floating point adds is no second more.
    seconds = math.ceil(round(seconds, 6))
    if seconds < 2 * MINUTE_S:
        return f"{seconds} s"
    minutes = math.ceil(seconds / MINUTE_S)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
