"""One short round each of the chaos suite's quick cases on Apache Kafka, with the same three workers.

And that the suite finds a broken ack order. The whole suite is `make chaos`.
"""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio
from chaos.arena import Arena, opened
from chaos.broker_faults import broker_away
from chaos.cases import BY_NAME, only_raising_pictures_have_status_4
from chaos.fleet import owned
from chaos.pictures import PLAIN, RAISES
from chaos.rounds import run_round
from chaos.suite import play
from chaos.terms import Terms
from workers import WorkerProcess

from streamapp.local.kafka.broker import KafkaBroker

# One loop for the module: the workers stay from test to test.
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def arena(kafka_broker: KafkaBroker, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Arena]:
    """Three workers whose model raises on one picture in a hundred."""
    terms = Terms(shares={PLAIN: 0.99, RAISES: 0.01}, has_pages=True)
    async with opened(kafka_broker, tmp_path_factory.mktemp("chaos"), terms) as arena:
        yield arena


FAULTS = {name: BY_NAME[name].fault for name in ("sigkill", "sigterm", "sigstop", "too_large")} | {
    "broker_away": broker_away(10.0)
}


@pytest.mark.parametrize("name", FAULTS)
async def test_every_event_has_its_outcome_after(name: str, arena: Arena) -> None:
    played = await run_round(arena, FAULTS[name], 1)
    print(name, played.line)

    assert not played.failures, "\n".join(played.failures)
    assert not only_raising_pictures_have_status_4(played)
    assert played.line["events"] > 200


async def overtaken_events_killed(arena: Arena) -> None:
    """SIGKILL a worker when its commits have passed events that it still works on."""

    def overtaken(worker: WorkerProcess) -> int:
        return arena.ledger.overtaken(owned(worker))

    await arena.until(lambda: max(map(overtaken, arena.fleet.alive)) >= 3, "commits that pass events")
    arena.fleet.kill(max(arena.fleet.alive, key=overtaken))
    arena.fleet.start()
    await arena.fleet.until_assigned()


async def test_the_suite_finds_acks_that_leave_as_events_are_done(
    kafka_broker: KafkaBroker, tmp_path_factory: pytest.TempPathFactory
) -> None:
    # Faust's commits stop at a gap of two events and pass one of one: late events are rare and very late.
    case = replace(
        BY_NAME["sigkill"], fault=overtaken_events_killed, terms=Terms(late_share=0.06, late_s=5.0)
    )
    broken = {"CHAOS_ACKS": "as_completed"}
    (played,) = await play(case, kafka_broker, tmp_path_factory.mktemp("broken"), rounds=1, variables=broken)
    print(played.line)

    assert played.line["lost"] > 0, played.failures
    assert played.line["commits_past_no_outcome"] > 0, played.failures
