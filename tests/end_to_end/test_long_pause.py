"""A worker that reads nothing for long, as while a broker is away and all places are taken, goes on after."""

import asyncio
import io
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from PIL import Image
from workers import WorkerProcess, event

from streamapp.local.kafka.broker import KafkaBroker
from streamapp.local.outcomes import Outcome, OutcomeReader
from streamapp.local.sending import send_values
from streamapp.settings import load_settings
from streamapp.topics import ensure_topics

TIMEOUT_S = 60
PLACES = "16"
# More than the places and the 512 events that wait for them.
EVENTS_BEHIND = 700


@pytest.fixture
def long_pause(tmp_path: Path) -> Path:
    return tmp_path / "long_pause"


@pytest.fixture
def kafka_variables(
    kafka_variables: dict[str, str], kafka_broker: KafkaBroker, long_pause: Path
) -> dict[str, str]:
    """A worker on Apache Kafka with few places, that waits long for a server."""
    patient = dict.fromkeys(
        ("STREAMAPP_READ_TIMEOUT_S", "STREAMAPP_DOWNLOAD_TIMEOUT_S", "STREAMAPP_FETCH_DEADLINE_S"), "600"
    )
    few = dict.fromkeys(("STREAMAPP_EVENTS_IN_FLIGHT", "STREAMAPP_UNACKED_EVENTS"), PLACES)
    here = {
        "STREAMAPP_BROKERS": kafka_broker.bootstrap_servers,
        "STREAMAPP_TOPIC_PARTITIONS": "1",
        "STREAMAPP_PICTURES_IN_FLIGHT": PLACES,
        "PYTHONPATH": str(Path(__file__).parent),
        "LONG_PAUSE": str(long_pause),
    }
    return kafka_variables | patient | few | here


@pytest.fixture
def gate() -> asyncio.Event:
    """Opens the server of `slow_url`."""
    return asyncio.Event()


@pytest.fixture
async def slow_url(gate: asyncio.Event) -> AsyncIterator[str]:
    """A picture that comes when the gate is open."""
    file = io.BytesIO()
    Image.new("RGB", (64, 48), "blue").save(file, "JPEG")

    async def answer(_: web.Request) -> web.Response:
        await gate.wait()
        return web.Response(body=file.getvalue())

    app = web.Application()
    app.router.add_get("/a.jpg", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.5)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/a.jpg"
    finally:
        gate.set()
        await runner.cleanup()


async def test_a_worker_that_could_read_nothing_for_long_goes_on(
    kafka_variables: dict[str, str], gate: asyncio.Event, slow_url: str, long_pause: Path, tmp_path: Path
) -> None:
    settings = load_settings(kafka_variables)
    await ensure_topics(settings)
    seen: list[Outcome] = []
    async with OutcomeReader(settings) as reader:
        with WorkerProcess(kafka_variables, tmp_path, app="long_pause") as worker:
            # The first holds up the acks of the others, which are soon as many as may be.
            values = [event("slow", slow_url), *(b"no event" for _ in range(EVENTS_BEHIND))]
            sent = [source async for _, source in send_values(settings, values)]
            async with asyncio.timeout(TIMEOUT_S):
                while not long_pause.exists():
                    worker.check()
                    await asyncio.sleep(0.05)
            gate.set()
            overdue = await reader.collect(
                sent, timeout_s=TIMEOUT_S, on_outcome=seen.append, check=worker.check
            )

    assert not overdue, worker.log
    assert len(seen) == len(sent), "It was taken out of its group, and the events came twice."
