"""A worker, run through Faust, for which a second without reading counts as so many.

The file LONG_PAUSE is there once it has been asked how long nothing was read, and it was more than a thousand
seconds: Faust's limit, after which aiokafka leaves the group.
"""

import os
from pathlib import Path
from typing import Any

from aiokafka.consumer.subscription_state import SubscriptionState

from streamapp.worker import app as app

SECONDS_PER_SECOND = 500
LIMIT_S = 1000.0
idle_time = SubscriptionState.fetcher_idle_time
long_pause = Path(os.environ["LONG_PAUSE"])


def counted_idle_time(self: Any) -> float:
    idle_s = float(idle_time.fget(self)) * SECONDS_PER_SECOND
    if idle_s >= LIMIT_S:
        long_pause.touch()
    return idle_s


SubscriptionState.fetcher_idle_time = property(counted_idle_time)
