"""A fetch that a rebalance comes into the midst of: Faust takes its records for the new generation's.

It holds the events before them, which are to come again, for a gap in the topic, commits past them and
drops them (see `streamapp.agents.consumer`).
"""

import asyncio
import io
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from aiohttp import web
from PIL import Image
from workers import WorkerProcess, event

from streamapp.local.kafka.broker import KafkaBroker
from streamapp.local.outcomes import Outcome, OutcomeReader, wait_until_committed
from streamapp.local.sending import send_values
from streamapp.records import SourcePosition
from streamapp.settings import Settings, load_settings
from streamapp.topics import ensure_topics

TIMEOUT_S = 60
EVENTS = 60
# A worker has taken the events that were sent.
TAKEN_AFTER_S = 2.0
# See `held_fetch`, which runs in another process.
NEXT_FETCH_AFTER_S = 4.0


@pytest.fixture
def kafka_variables(
    kafka_variables: dict[str, str], kafka_broker: KafkaBroker, tmp_path: Path
) -> dict[str, str]:
    """A worker on Apache Kafka that waits long for a server, and for its group as short as can be."""
    patient = dict.fromkeys(
        ("STREAMAPP_READ_TIMEOUT_S", "STREAMAPP_DOWNLOAD_TIMEOUT_S", "STREAMAPP_FETCH_DEADLINE_S"), "600"
    )
    quick = {"STREAMAPP_SESSION_TIMEOUT_S": "6", "STREAMAPP_REBALANCE_TIMEOUT_S": "3"}
    here = {
        "STREAMAPP_BROKERS": kafka_broker.bootstrap_servers,
        "PYTHONPATH": str(Path(__file__).parent),
        "HELD_FETCH": str(tmp_path / "fetch"),
    }
    return kafka_variables | patient | quick | here


class GateServer:
    """One picture: at once, or when the gate is open."""

    def __init__(self) -> None:
        file = io.BytesIO()
        Image.new("RGB", (64, 48), "blue").save(file, "JPEG")
        self._picture = file.getvalue()
        self.gate = asyncio.Event()
        self.port = 0

    def url_of(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}/{name}"

    async def answer(self, request: web.Request) -> web.Response:
        if request.path == "/behind_the_gate":
            await self.gate.wait()
        return web.Response(body=self._picture)


@pytest.fixture
async def server() -> AsyncIterator[GateServer]:
    server = GateServer()
    app = web.Application()
    app.router.add_get("/{name}", server.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.5)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server.port = runner.addresses[0][1]
        yield server
    finally:
        server.gate.set()
        await runner.cleanup()


async def send(settings: Settings, url: str) -> list[SourcePosition]:
    return [source async for _, source in send_values(settings, [event(n, url) for n in range(EVENTS)])]


async def until(holds: Callable[[], bool], worker: WorkerProcess) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while not holds():
            worker.check()
            await asyncio.sleep(0.05)


async def test_the_events_before_its_records_are_not_taken_for_a_gap_in_the_topic(
    kafka_variables: dict[str, str], server: GateServer, tmp_path: Path
) -> None:
    settings = load_settings(kafka_variables)
    await ensure_topics(settings)
    hold, holds = tmp_path / "fetch", tmp_path / "fetch.holds"
    seen: list[Outcome] = []
    async with OutcomeReader(settings) as reader:
        with WorkerProcess(kafka_variables, tmp_path, "first", app="held_fetch") as first:
            # 1. Offsets are committed, and behind them there are events in flight.
            done = await send(settings, server.url_of("at_once"))
            assert not await reader.collect(
                done, timeout_s=TIMEOUT_S, on_outcome=seen.append, check=first.check
            )
            assert not await wait_until_committed(settings, done, timeout_s=TIMEOUT_S)
            in_flight = await send(settings, server.url_of("behind_the_gate"))
            await asyncio.sleep(TAKEN_AFTER_S)
            # 2. A fetch of what is behind these lasts over a rebalance.
            hold.touch()
            behind = await send(settings, server.url_of("at_once"))
            await until(holds.exists, first)
            with WorkerProcess(kafka_variables, tmp_path, "second") as second:
                await until(lambda: first.log.count("Assigned events") > 1, first)
                hold.unlink()
                await until(lambda: not holds.exists(), first)
                # 3. Whatever is not committed comes again.
                await asyncio.sleep(NEXT_FETCH_AFTER_S)
                server.gate.set()
                overdue = await reader.collect(
                    [*in_flight, *behind], timeout_s=TIMEOUT_S, on_outcome=seen.append, check=second.check
                )
                first.check()

    assert not overdue, first.log
