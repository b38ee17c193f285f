"""What a worker is assigned is read from its first event on, by Faust's consumer on real Kafka.

A step of the worker lasts longer than another that comes between (see `held_steps`).
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from workers import WorkerProcess

from streamapp.local.kafka.broker import KafkaBroker
from streamapp.local.outcomes import OutcomeReader
from streamapp.local.sending import send_values
from streamapp.records import SourcePosition
from streamapp.settings import Settings, load_settings
from streamapp.topics import ensure_topics

TIMEOUT_S = 60
# Longer than the longest answer that Faust waits for in `held_steps`, 7 s.
SEEK_S = 8.5
EVENTS = 60


@pytest.fixture
def variables(kafka_variables: dict[str, str], kafka_broker: KafkaBroker, tmp_path: Path) -> dict[str, str]:
    """A worker on Apache Kafka that takes its steps as late as a test wants."""
    return kafka_variables | {
        "STREAMAPP_BROKERS": kafka_broker.bootstrap_servers,
        "PYTHONPATH": str(Path(__file__).parent),
        "HELD_STEPS": str(tmp_path),
    }


@pytest.fixture
async def settings(variables: dict[str, str]) -> Settings:
    settings = load_settings(variables)
    await ensure_topics(settings)
    return settings


async def send(settings: Settings) -> list[SourcePosition]:
    """Values whose outcome is a dead letter, on all partitions."""
    return [source async for _, source in send_values(settings, [b"no event"] * EVENTS)]


async def until(holds: Callable[[], bool], worker: WorkerProcess) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while not holds():
            worker.check()
            await asyncio.sleep(0.05)


async def test_a_fetch_over_a_rebalance_skips_no_event_of_a_partition_without_a_commit(
    variables: dict[str, str], settings: Settings, tmp_path: Path
) -> None:
    hold, holds = tmp_path / "late_fetch", tmp_path / "late_fetch.holds"
    async with OutcomeReader(settings) as reader:
        with WorkerProcess(variables, tmp_path, "first", app="held_steps") as first:
            await until(lambda: "Assigned events" in first.log, first)
            hold.touch()
            await until(holds.exists, first)
            with WorkerProcess(variables, tmp_path, "second") as second:
                await until(lambda: first.log.count("Assigned events") > 1, first)
                sent = await send(settings)
                hold.unlink()
                await until(lambda: not holds.exists(), first)
                overdue = await reader.collect(
                    sent, timeout_s=TIMEOUT_S, on_outcome=lambda _: None, check=second.check
                )

    assert not overdue, first.log


async def test_a_broker_that_is_long_in_telling_what_is_committed_is_waited_for(
    variables: dict[str, str], settings: Settings, tmp_path: Path
) -> None:
    hold, holds = tmp_path / "late_seek", tmp_path / "late_seek.holds"
    hold.touch()
    async with OutcomeReader(settings) as reader:
        with WorkerProcess(variables, tmp_path, app="held_steps") as worker:
            await until(holds.exists, worker)
            await asyncio.sleep(SEEK_S)
            hold.unlink()
            sent = await send(settings)
            overdue = await reader.collect(
                sent, timeout_s=TIMEOUT_S, on_outcome=lambda _: None, check=worker.check
            )

    assert not overdue, worker.log
