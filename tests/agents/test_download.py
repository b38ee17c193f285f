"""The first stage: a task for each event, dead letters for what is no event, no place lost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from mode import Service
from source_events import (
    TIMEOUT_S,
    AckRecordingStream,
    GenerationApp,
    RecordingPublisher,
    SourceEvent,
    is_waiting,
    settle,
    source_event,
)

from streamapp.agents.download import DownloadStage, Looked
from streamapp.agents.intake import Intake
from streamapp.errors import FetchError
from streamapp.obtain import Obtained
from streamapp.reasons import Reason
from streamapp.records import SourcePosition

PLACES = 4


def user_event(offset: int, url: str | None, **message: Any) -> SourceEvent:
    value = {"user_id": str(offset), "event_properties": {"target_user_image_url": url}}
    return source_event(offset, value=msgspec.json.encode(value), **message)


class GatedSource:
    """Obtains nothing before its gate opens; notes what it was asked for and what was cancelled."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.asked: list[str] = []
        self.cancelled: list[str] = []

    async def obtain(self, url: str, **_: object) -> Obtained:
        self.asked.append(url)
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled.append(url)
            raise
        return Obtained(None, FetchError(Reason.NOT_FOUND, url))


class RaisingSource(GatedSource):
    """Has a bug."""

    async def obtain(self, url: str, **_: object) -> Obtained:
        raise ZeroDivisionError(url)


class Room:
    """A download stage with everything around it."""

    def __init__(self, service: Service, source: GatedSource, queued: int) -> None:
        self.app = GenerationApp()
        self.service = service
        self.source = source
        self.journal: list[str] = []
        self.publisher = RecordingPublisher(self.journal)
        self.ready: asyncio.Queue[Looked] = asyncio.Queue(queued)
        self.intake = Intake(self.app, events_in_flight=PLACES, pictures_in_flight=2, unacked_events=100)
        publisher: Any = self.publisher
        stand_in: Any = source
        self.stage = DownloadStage(service, self.intake, stand_in, publisher, self.ready)

    async def run(self, *events: SourceEvent) -> AckRecordingStream:
        """Let the agent take these events; the work on them may still go on."""
        stream = AckRecordingStream(events, self.journal)
        async with asyncio.timeout(TIMEOUT_S):
            await self.stage.run(stream)
        assert stream.is_noack
        return stream

    async def next_ready(self) -> Looked:
        return await asyncio.wait_for(self.ready.get(), TIMEOUT_S)

    async def finish(self) -> None:
        """Wait for the tasks of all events."""
        if self.service._futures:
            await asyncio.wait(set(self.service._futures), timeout=TIMEOUT_S)

    async def has_every_place(self) -> bool:
        """Whether the intake takes as many events as at its start, and not one more."""
        for offset in range(PLACES):
            stale = source_event(offset, generation_id=-1)
            await asyncio.wait_for(self.intake.take(AckRecordingStream(), stale), TIMEOUT_S)
        one_more = asyncio.create_task(self.intake.take(AckRecordingStream(), source_event(99)))
        try:
            return await is_waiting(one_more)
        finally:
            one_more.cancel()


@asynccontextmanager
async def room(source: GatedSource | None = None, queued: int = 10) -> AsyncIterator[Room]:
    async with Service() as service:
        made = Room(service, source or GatedSource(), queued)
        yield made
        for future in set(service._futures):
            future.cancel()


async def test_an_event_goes_on_with_what_became_of_its_url() -> None:
    async with room() as r:
        r.source.gate.set()
        stream = await r.run(user_event(5, "https://cdn.example.com/a.png"))
        looked = await r.next_ready()

    assert looked.event.user_id == "5"
    assert looked.ticket.payload.source == SourcePosition("modify_user", 0, 5)
    assert looked.obtained.error is not None
    assert stream.acks == []


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"{not json", "not_json"),
        (None, "not_json"),
        (b"[]", "not_an_object"),
        (b'{"event_properties": {}}', "no_user_id"),
        (b'{"user_id": "7"}', "no_event_properties"),
    ],
)
async def test_a_record_that_is_no_event_is_acked_after_its_dead_letter(
    value: bytes | None, reason: str
) -> None:
    async with room() as r:
        stream = await r.run(source_event(5, value=value, key=b"k", headers=[("trace", b"1")]))
        await r.finish()

    position = SourcePosition("modify_user", 0, 5)
    assert r.publisher.dead_letters == [(position, b"k", value, [("trace", b"1")], reason)]
    assert r.journal == ["dead letter 5", "ack 5"]
    assert r.intake.outcomes == {"dead letters": 1}
    assert stream.acks == [(0, 5)]
    assert r.source.asked == []


@pytest.mark.parametrize("url", ["", None, "  "])
async def test_a_picture_that_was_removed_is_acked_and_leaves_nothing(url: str | None) -> None:
    async with room() as r:
        await r.run(user_event(5, url))
        await r.finish()

        assert r.journal == ["ack 5"]
        assert r.intake.outcomes == {"pictures removed": 1}
        assert r.source.asked == []
        assert r.ready.empty()
        assert await r.has_every_place()


async def test_a_rebalance_cancels_the_work_on_lost_events_and_no_other() -> None:
    async with room() as r:
        await r.run(user_event(0, "https://x/lost-0"), user_event(1, "https://x/lost-1"))
        await settle()
        r.app.rebalance()
        await r.run(user_event(0, "https://x/kept", generation_id=2))
        await settle()
        r.stage.cancel_lost_events()
        r.source.gate.set()
        looked = await r.next_ready()
        await r.finish()

        assert r.source.cancelled == ["https://x/lost-0", "https://x/lost-1"]
        assert looked.event.image_url == "https://x/kept"
        assert r.ready.empty()
        await r.intake.ack(looked.ticket, "rows")
        assert r.journal == ["ack 0"]
        assert await r.has_every_place()


async def test_a_lost_event_that_waits_for_the_models_gives_its_place_back() -> None:
    async with room(queued=1) as r:
        r.source.gate.set()
        await r.run(user_event(0, "https://x/queued"), user_event(1, "https://x/waits"))
        queued = await r.next_ready()
        # The second takes the only place in the queue, the third waits for one.
        await r.run(user_event(2, "https://x/waits too"))
        await settle()
        r.app.rebalance()
        r.stage.cancel_lost_events()
        await r.finish()
        r.intake.drop(queued.ticket)
        r.intake.drop((await r.next_ready()).ticket)

        assert r.ready.empty()
        assert await r.has_every_place()


async def test_no_place_is_lost_where_the_rebalance_comes_before_the_work_has_begun() -> None:
    async with room() as r:
        for generation in range(1, 3 * PLACES):
            await r.run(user_event(generation, "https://x/never looked at", generation_id=generation))
            r.app.rebalance()
            r.stage.cancel_lost_events()
        await r.finish()

        assert r.source.asked == []
        assert await r.has_every_place()


async def test_an_event_whose_work_raises_is_not_acked_and_ends_the_service() -> None:
    async with room(RaisingSource()) as r:
        stream = await r.run(user_event(5, "https://x/a.png"))
        await r.finish()

        assert isinstance(r.service.crash_reason, ZeroDivisionError)
        assert stream.acks == []
        assert r.ready.empty()
