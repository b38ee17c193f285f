"""A worker whose fetches last as long as a test wants, run through Faust.

While there is the file HELD_FETCH, a fetch takes whatever the broker has, and brings it only when the file is
gone and the worker takes records: after a rebalance, if there was one meanwhile. The next fetch comes late:
what the worker takes for done has been committed by then.
"""

import asyncio
import os
from pathlib import Path
from typing import Any

from faust.transport.drivers import aiokafka as faust_aiokafka

from streamapp.worker import app as app

NEXT_FETCH_AFTER_S = 4.0
fetch = faust_aiokafka.Consumer._getmany
hold = Path(os.environ["HELD_FETCH"])
holds = hold.with_suffix(".holds")


async def fetch_and_hold(self: Any, active_partitions: Any, timeout: float) -> Any:
    if holds.exists():
        holds.unlink()
        await asyncio.sleep(NEXT_FETCH_AFTER_S)
    records = await fetch(self, active_partitions, timeout)
    if not records or not hold.exists():
        return records
    while more := await fetch(self, active_partitions, timeout):
        for partition, further in more.items():
            records.setdefault(partition, []).extend(further)
    holds.touch()
    while hold.exists() or not self.flow_active:
        await asyncio.sleep(0.02)
    return records


faust_aiokafka.Consumer._getmany = fetch_and_hold
