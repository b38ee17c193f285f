"""Checks the warehouse against the topics, and gives Connect time to load what it has not loaded yet."""

import asyncio
import time
from collections.abc import Callable, Mapping

from streamapp.reading import EVER, Period
from streamapp.settings import Settings
from streamapp.warehouse.audit import Audit, audit
from streamapp.warehouse.database import open_warehouse
from streamapp.warehouse.landed import Landed, check_tables, find_events, find_landed, spans
from streamapp.warehouse.offsets import minus
from streamapp.warehouse.published import Results, read_published
from streamapp.warehouse.sink import loaded_to, read_refused

_STATEMENT_TIMEOUT_S = 300.0
_POLL_S = 1.0


def check_warehouse(
    settings: Settings,
    *,
    period: Period = EVER,
    wait_s: float = 0.0,
    say: Callable[[str], None] = lambda _: None,
) -> Audit:
    """Read the topics, then what of them the warehouse has, and compare.

    Args:
        period: of the events and their outcomes.
        wait_s: longest time that Connect gets for what it has not committed yet.
        say: told what is done next.

    Raises:
        BrokerError: the broker can't be read from.
        WarehouseError: the warehouse can't be read from, or lacks its tables.
    """
    # First, and left again while the topics are read: a warehouse that is not there is told at once.
    with open_warehouse(settings, statement_timeout_s=_STATEMENT_TIMEOUT_S) as connection:
        check_tables(connection)
    say("read the topics")
    published = asyncio.run(read_published(settings, period))
    say("ask the warehouse")
    landed, passed_to = _wait_for_connect(settings, published.results, wait_s, say)
    with open_warehouse(settings, statement_timeout_s=_STATEMENT_TIMEOUT_S) as connection:
        asked = spans(published.events.with_picture, published.results.sources)
        events = find_events(connection, settings.events_topic, asked)
    refused = asyncio.run(read_refused(settings))
    return audit(published, landed, events, refused=refused, passed_to=passed_to)


def _wait_for_connect(
    settings: Settings, results: Results, wait_s: float, say: Callable[[str], None]
) -> tuple[Landed, dict[int, int]]:
    """What has landed, and how far Connect has committed, once nothing more can come or the time is up.

    What Connect has passed it does not load again, so that waiting for it is no use.
    """
    give_up_at = time.monotonic() + wait_s
    while True:
        # Asked for before the table: what is committed by now must be in it.
        committed = asyncio.run(loaded_to(settings, results.ranges))
        with open_warehouse(settings, statement_timeout_s=_STATEMENT_TIMEOUT_S) as connection:
            landed = find_landed(connection, settings.results_topic, results.ranges)
        passed_to = _passed_to(committed, landed)
        missing = minus(results.records, landed.records)
        if not any(end > passed_to[number] for number, one in missing.items() for _, end in one):
            return landed, passed_to
        if time.monotonic() >= give_up_at:
            return landed, passed_to
        say("wait for Connect to load the rest")
        time.sleep(_POLL_S)


def _passed_to(committed: Mapping[int, int], landed: Landed) -> dict[int, int]:
    """Partition → the offset from which Connect goes on, at the least.

    It loads a partition in order, and commits some seconds later.
    """
    ends = {number: max(end for _, end in one) for number, one in landed.records.items()}
    return {number: max(offset, ends.get(number, 0)) for number, offset in committed.items()}
