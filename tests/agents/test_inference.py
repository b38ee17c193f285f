"""The second stage: a row, or a dead letter in its place, is out before its event is acked."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from aiokafka.errors import KafkaTimeoutError
from kafka_records import records_of, row_of
from source_events import TIMEOUT_S, AckRecordingStream, GenerationApp, RecordingPublisher, source_event

from streamapp.agents.download import Looked
from streamapp.agents.inference import InferenceStage
from streamapp.agents.intake import Intake
from streamapp.agents.publish import Publisher
from streamapp.errors import FetchError
from streamapp.obtain import Obtained
from streamapp.reasons import Reason
from streamapp.records import Event, ResultRow, SourcePosition
from streamapp.settings import Settings
from streamapp.topics import ensure_topics


class GatedEngine:
    """Judges once its gate is open; the row is the event's own, but for the given columns."""

    def __init__(self, **columns: Any) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.begun: asyncio.Queue[SourcePosition] = asyncio.Queue()
        self._columns = columns

    async def judge(
        self, event: Event, obtained: Obtained, *, source: SourcePosition, **_: object
    ) -> ResultRow:
        self.begun.put_nowait(source)
        await self.gate.wait()
        return row_of(event.user_id, **self._columns)


class UnreachablePublisher(RecordingPublisher):
    """Has lost its broker."""

    async def publish_row(self, row: ResultRow) -> bool:
        raise KafkaTimeoutError


class Room:
    """An inference stage with everything around it."""

    def __init__(self, engine: GatedEngine, publisher: Any) -> None:
        self.app = GenerationApp()
        self.journal: list[str] = []
        self.publisher = publisher or RecordingPublisher(self.journal)
        self.stream = AckRecordingStream(journal=self.journal)
        self.ready: asyncio.Queue[Looked] = asyncio.Queue(10)
        self.intake = Intake(self.app, events_in_flight=10, pictures_in_flight=2, unacked_events=100)
        stand_in: Any = engine
        self.task = asyncio.create_task(
            InferenceStage(self.intake, stand_in, self.publisher, self.ready).run()
        )

    async def look(self, offset: int, **message: Any) -> None:
        """Hand an event over, as the download stage does."""
        ticket = await self.intake.take(self.stream, source_event(offset, **message))
        event = Event(str(offset), "https://x/a.png", None, None, None)
        await self.ready.put(Looked(ticket, event, Obtained(None, FetchError(Reason.NOT_FOUND, "404"))))

    async def outcomes(self, count: int) -> None:
        """Wait until so many events are acked, or the stage has ended."""
        async with asyncio.timeout(TIMEOUT_S):
            while len(self.stream.acks) < count and not self.task.done():
                await asyncio.sleep(0)


@asynccontextmanager
async def room(engine: GatedEngine, publisher: Any = None) -> AsyncIterator[Room]:
    made = Room(engine, publisher)
    try:
        yield made
    finally:
        made.task.cancel()
        with suppress(asyncio.CancelledError, KafkaTimeoutError):
            await made.task


async def test_an_event_is_acked_after_its_row_is_out() -> None:
    async with room(GatedEngine()) as r:
        for offset in range(3):
            await r.look(offset)
        await r.outcomes(3)

    assert r.journal == ["row 0", "ack 0", "row 1", "ack 1", "row 2", "ack 2"]
    assert r.intake.outcomes == {"rows": 3}


async def test_an_event_that_was_lost_in_the_queue_is_not_looked_at() -> None:
    engine = GatedEngine()
    async with room(engine) as r:
        await r.look(0)
        r.app.rebalance()
        await r.look(1, generation_id=2)
        await r.outcomes(1)

    assert r.journal == ["row 1", "ack 1"]
    assert [engine.begun.get_nowait().offset for _ in range(engine.begun.qsize())] == [1]


async def test_an_event_that_was_lost_while_the_models_looked_is_not_published() -> None:
    engine = GatedEngine()
    engine.gate.clear()
    async with room(engine) as r:
        await r.look(0)
        await asyncio.wait_for(engine.begun.get(), TIMEOUT_S)
        r.app.rebalance()
        engine.gate.set()
        await r.look(0, generation_id=2)
        await r.outcomes(1)

    assert r.journal == ["row 0", "ack 0"]
    assert r.publisher.rows == [row_of("0")]


async def test_an_event_whose_row_the_broker_did_not_take_is_not_acked() -> None:
    async with room(GatedEngine(), UnreachablePublisher([])) as r:
        await r.look(0)
        with pytest.raises(KafkaTimeoutError):
            await asyncio.wait_for(r.task, TIMEOUT_S)

    assert r.stream.acks == []


async def test_a_row_that_is_too_large_for_the_broker_goes_with_its_texts_cut(
    kafka_settings: Settings,
) -> None:
    await ensure_topics(kafka_settings)
    async with (
        Publisher(kafka_settings) as publisher,
        room(GatedEngine(USERNAME="x" * 1_100_000), publisher) as r,
    ):
        await r.look(5)
        await r.outcomes(1)
    (record,) = await records_of(kafka_settings, kafka_settings.results_topic, 1)

    assert record.value == row_of("5", USERNAME="x" * 1_100_000).shortened().to_json()
    assert r.stream.acks == [(0, 5)]
    assert r.intake.outcomes == {"rows": 1}


async def test_a_row_that_is_too_large_even_then_becomes_a_dead_letter(
    kafka_settings: Settings,
) -> None:
    await ensure_topics(kafka_settings)
    async with (
        Publisher(kafka_settings) as publisher,
        room(GatedEngine(UID="7" * 1_100_000), publisher) as r,
    ):
        await r.look(5, key=b"k", value=b'{"user_id": "5"}', headers=[("trace", b"1")])
        await r.outcomes(1)
    (record,) = await records_of(kafka_settings, kafka_settings.dead_letter_topic, 1)

    assert (record.key, record.value) == (b"k", b'{"user_id": "5"}')
    headers = dict(record.headers)
    assert headers["trace"] == b"1"
    assert headers["streamapp.reason"] == b"row_too_large"
    assert headers["streamapp.source.offset"] == b"5"
    assert r.stream.acks == [(0, 5)]
    assert r.intake.outcomes == {"dead letters": 1}
