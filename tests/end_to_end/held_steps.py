"""A worker whose consumer takes its steps as late as a test wants, run through Faust.

In the folder HELD_STEPS a file of a step's name holds it; `NAME.holds` is there while it does.

late_fetch: a fetch takes what the broker has only when the file is gone, whatever rebalances came meanwhile.
late_seek: where partitions are committed is answered only when the file is gone.
"""

import asyncio
import os
from pathlib import Path
from typing import Any

from streamapp.agents.consumer import ConsumerThread
from streamapp.worker import app as app

FETCH_S = 5.0
# The shortest that Faust allows: the session timeout and one second.
app.conf.broker_request_timeout = 7.0
folder = Path(os.environ["HELD_STEPS"])
fetch, seek = ConsumerThread._fetch_records, ConsumerThread.seek_to_committed


async def held(step: str) -> bool:
    hold, holds = folder / step, folder / f"{step}.holds"
    if not hold.exists():
        return False
    holds.touch()
    while hold.exists():
        await asyncio.sleep(0.02)
    holds.unlink()
    return True


async def fetch_late(self: Any, consumer: Any, partitions: Any, *args: Any, **kwargs: Any) -> Any:
    if self.consumer.flow_active and await held("late_fetch"):
        return await consumer._fetcher.fetched_records(partitions, timeout=FETCH_S)
    return await fetch(self, consumer, partitions, *args, **kwargs)


async def seek_late(self: Any) -> Any:
    await held("late_seek")
    return await seek(self)


ConsumerThread._fetch_records = fetch_late
ConsumerThread.seek_to_committed = seek_late
