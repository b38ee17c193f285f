"""Where a case happens: topics of its own on a broker, pictures, workers, and the judge."""

import asyncio
import random
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chaos.fleet import Fleet
from chaos.ledger import Ledger
from chaos.load import Load
from chaos.pictures import ColourServer
from chaos.terms import Terms

from streamapp.local.broker import EmbeddedBroker
from streamapp.local.kafka.broker import KafkaBroker
from streamapp.settings import Settings, load_settings
from streamapp.topics import ensure_topics

PARTITIONS = 12
HANG_FILE = "hang"
VARIABLES = {
    "STREAMAPP_SESSION_TIMEOUT_S": "6",
    "STREAMAPP_REBALANCE_TIMEOUT_S": "10",
    "STREAMAPP_TOPIC_PARTITIONS": str(PARTITIONS),
    "STREAMAPP_ALLOW_PRIVATE_HOSTS": "127.0.0.1",
    "STREAMAPP_DOWNLOADS_PER_HOST": "64",
    "STREAMAPP_RETRY_BASE_S": "0.01",
    "STREAMAPP_DECODE_THREADS": "1",
    "STREAMAPP_EVENTS_IN_FLIGHT": "256",
    "STREAMAPP_UNACKED_EVENTS": "1000",
    "STREAMAPP_MODELS": "nudenet",
}

Broker = KafkaBroker | EmbeddedBroker


@dataclass
class Arena:
    """What a case's fault has at hand.

    Attributes:
        notes: what the fault found out, for the report: name → figure.
        failures: what did not hold, apart from lost events.
        dice: chooses the workers.
    """

    broker: Broker
    folder: Path
    settings: Settings
    server: ColourServer
    fleet: Fleet
    ledger: Ledger
    terms: Terms
    dice: random.Random = field(default_factory=lambda: random.Random(0))
    notes: dict[str, Any] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    load: Load | None = None

    @property
    def kafka(self) -> KafkaBroker:
        """The broker, for what only Apache Kafka can do."""
        assert isinstance(self.broker, KafkaBroker), "The case needs Apache Kafka. This is a bug."
        return self.broker

    @property
    def hang_file(self) -> Path:
        """Where it is made, a model hangs once, and takes it away."""
        return self.folder / HANG_FILE

    def require(self, holds: bool, what: str) -> None:
        """Note what does not hold; the case goes on, so that it says all that is wrong."""
        if not holds:
            self.failures.append(what)

    async def keep_loading(self, seconds: float) -> None:
        """Let the load go on for as long."""
        assert self.load is not None, "There is no load outside of a round. This is a bug."
        await self.load.until_sent(self.load.sent + int(seconds * self.terms.rate_per_s))

    async def until(self, condition: Callable[[], bool], what: str, timeout_s: float = 60.0) -> None:
        """Wait until it holds, the judge sampling meanwhile; a failure where it does not in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not condition():
                    await asyncio.sleep(0.1)
                return
        self.failures.append(f"Not within {timeout_s:.0f} s: {what}")

    async def until_outcomes(self, count: int) -> None:
        """Wait for so many more events with an outcome."""
        goal = self.ledger.with_outcome + count
        await self.until(lambda: self.ledger.with_outcome >= goal, f"{count} more outcomes")


@asynccontextmanager
async def opened(broker: Broker, folder: Path, terms: Terms) -> AsyncIterator[Arena]:
    """An arena with its workers assigned; everything of it but the topics is gone after the block."""
    variables = _variables(broker) | terms.variables
    settings = load_settings({name: value for name, value in variables.items() if "STREAMAPP_" in name})
    await ensure_topics(settings)
    ledger = Ledger(settings, has_low_ends=isinstance(broker, EmbeddedBroker))
    fleet = Fleet(
        variables | {"CHAOS_HANG_FILE": str(folder / HANG_FILE)},
        folder,
        PARTITIONS,
        has_pages=terms.has_pages,
    )
    async with ColourServer() as server, ledger, _sampled(ledger):
        with fleet:
            fleet.start(terms.workers)
            await fleet.until_assigned()
            yield Arena(broker, folder, settings, server, fleet, ledger, terms)


def _variables(broker: Broker) -> dict[str, str]:
    """Of a worker, with names that no other case uses."""
    name = uuid.uuid4().hex[:8]
    return VARIABLES | {
        "STREAMAPP_BROKERS": broker.bootstrap_servers,
        "STREAMAPP_EVENTS_TOPIC": f"events-{name}",
        "STREAMAPP_RESULTS_TOPIC": f"results-{name}",
        "STREAMAPP_DEAD_LETTER_TOPIC": f"dead-{name}",
        "STREAMAPP_GROUP": f"group-{name}",
    }


@asynccontextmanager
async def _sampled(ledger: Ledger) -> AsyncIterator[None]:
    """Let the judge look all the time; what breaks it is raised at the end."""
    watching = asyncio.create_task(ledger.watch())
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.wait([watching])
    if not watching.cancelled():
        watching.result()
