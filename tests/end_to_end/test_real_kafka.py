"""A worker on Apache Kafka itself: what the embedded broker can't show."""

import asyncio
import io
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from workers import WorkerProcess, event

from streamapp.local.kafka.broker import KafkaBroker
from streamapp.local.outcomes import Outcome, OutcomeReader, wait_until_committed
from streamapp.local.pictures import PictureServer
from streamapp.local.sending import send_values
from streamapp.records import SourcePosition
from streamapp.settings import load_settings
from streamapp.topics import ensure_topics

EVENTS = 600
UNACKED_EVENTS = 100


@pytest.fixture
def kafka_variables(kafka_variables: dict[str, str], kafka_broker: KafkaBroker) -> dict[str, str]:
    """The environment of a worker on Apache Kafka."""
    return kafka_variables | {
        "STREAMAPP_BROKERS": kafka_broker.bootstrap_servers,
        "STREAMAPP_UNACKED_EVENTS": str(UNACKED_EVENTS),
        "STREAMAPP_EVENTS_IN_FLIGHT": "32",
    }


def jpeg() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (96, 64), "green").save(file, "JPEG")
    return file.getvalue()


async def test_a_killed_broker_loses_nothing_and_the_worker_goes_on_by_itself(
    kafka_variables: dict[str, str], kafka_broker: KafkaBroker, tmp_path: Path
) -> None:
    settings = load_settings(kafka_variables)
    await ensure_topics(settings)
    counts: Counter[SourcePosition] = Counter()

    def count(outcome: Outcome) -> None:
        counts[outcome.source] += 1

    async with PictureServer({"a.jpg": jpeg()}) as server:
        values = [event(user, server.url_of("a.jpg")) for user in range(EVENTS)]
        async with OutcomeReader(settings) as reader:
            sources = {source async for _, source in send_values(settings, values[: EVENTS // 2])}
            with WorkerProcess(kafka_variables, tmp_path) as worker:
                async with asyncio.timeout(90):
                    while len(counts) < EVENTS // 3:
                        for outcome in await reader.read(0.2):
                            count(outcome)
                        worker.check()
                # The rest only now: so there is work left, however fast the worker and late this reader.
                sources |= {source async for _, source in send_values(settings, values[EVENTS // 2 :])}
                await asyncio.to_thread(kafka_broker.kill)
                await asyncio.to_thread(kafka_broker.start)
                left = sources - set(counts)
                overdue = await reader.collect(left, timeout_s=90, on_outcome=count, check=worker.check)
                assert not overdue, (
                    f"{len(overdue)} of {EVENTS} events have no outcome:\n{worker.log[-3000:]}"
                )
                assert not await wait_until_committed(settings, sources, timeout_s=30), worker.log[-3000:]
                worker.process.send_signal(signal.SIGTERM)
                assert await asyncio.to_thread(worker.process.wait, 30) == 0, worker.log[-3000:]

    assert set(counts) == sources
    duplicates = sum(counts.values()) - EVENTS
    print(f"{EVENTS} events, {duplicates} duplicates after SIGKILL of the broker")
    assert duplicates <= 2 * UNACKED_EVENTS


async def test_a_worker_that_the_group_refuses_for_good_ends_and_says_why(
    kafka_variables: dict[str, str], tmp_path: Path
) -> None:
    # Kafka's least session timeout is 6 s (group.min.session.timeout.ms).
    variables = kafka_variables | {"STREAMAPP_SESSION_TIMEOUT_S": "4"}
    await ensure_topics(load_settings(variables))

    with WorkerProcess(variables, tmp_path) as worker:
        assert await asyncio.to_thread(worker.process.wait, 60) == 1, worker.log[-3000:]

    assert "keeps this worker out of the group" in worker.log
    assert "InvalidSessionTimeoutError" in worker.log


async def until(holds: Callable[[], bool], worker: WorkerProcess) -> None:
    async with asyncio.timeout(60):
        while not holds():
            worker.check()
            await asyncio.sleep(0.05)


async def test_a_worker_that_is_stopped_while_the_broker_is_away_ends_in_order(
    kafka_variables: dict[str, str], kafka_broker: KafkaBroker, tmp_path: Path
) -> None:
    # Rows that wait and acks that are not committed get a part of the time to drain, not all of it.
    variables = kafka_variables | {"STREAMAPP_DRAIN_TIMEOUT_S": "12"}
    settings = load_settings(variables)
    await ensure_topics(settings)
    seen: list[Outcome] = []
    async with PictureServer({"a.jpg": jpeg()}) as server:
        values = [event(user, server.url_of("a.jpg")) for user in range(EVENTS)]
        with WorkerProcess(variables, tmp_path) as worker:
            async with OutcomeReader(settings) as reader, asyncio.timeout(60):
                sources = [source async for _, source in send_values(settings, values)]
                while not seen:
                    await reader.collect(sources, timeout_s=0.1, on_outcome=seen.append, check=worker.check)
            await asyncio.to_thread(kafka_broker.kill)
            try:
                await until(lambda: "Got error produce response" in worker.log, worker)
                worker.process.send_signal(signal.SIGTERM)
                assert await asyncio.to_thread(worker.process.wait, 60) == 0, worker.log[-3000:]
            finally:
                await asyncio.to_thread(kafka_broker.start)
    assert "they are given up here and delivered again" in worker.log


SLOW_MODELS = """
import asyncio, contextlib, pathlib
import streamapp.engine as engine
open_engine = engine.open_engine

@contextlib.asynccontextmanager
async def open_slowly(*arguments):
    pathlib.Path("loading").touch()
    while not pathlib.Path("go").exists():
        await asyncio.sleep(0.02)
    async with open_engine(*arguments) as opened:
        yield opened

engine.open_engine = open_slowly
"""


async def test_a_broker_that_goes_while_the_models_load_is_waited_for(
    kafka_variables: dict[str, str], kafka_broker: KafkaBroker, tmp_path: Path
) -> None:
    # A module that the interpreter loads at start.
    (tmp_path / "sitecustomize.py").write_text(SLOW_MODELS)
    await ensure_topics(load_settings(kafka_variables))
    with WorkerProcess(kafka_variables | {"PYTHONPATH": str(tmp_path)}, tmp_path) as worker:
        await until((tmp_path / "loading").exists, worker)
        await asyncio.to_thread(kafka_broker.kill)
        try:
            (tmp_path / "go").touch()
            await until(lambda: "Asking again" in worker.log, worker)
        finally:
            await asyncio.to_thread(kafka_broker.start)
        await until(lambda: "Assigned" in worker.log, worker)
