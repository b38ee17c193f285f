"""The stages tell an event's trace what happens to the event, whichever way it goes."""

import asyncio
import json
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from fakes import BrightnessModel, picture_of
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from source_events import (
    TIMEOUT_S,
    AckRecordingStream,
    GenerationApp,
    RecordingPublisher,
    SourceEvent,
    settle,
    source_event,
)

from streamapp.agents.download import DownloadStage
from streamapp.agents.inference import InferenceStage
from streamapp.agents.intake import Intake
from streamapp.compose import Composer
from streamapp.engine import Engine
from streamapp.errors import FetchError
from streamapp.models.ensemble import Ensemble
from streamapp.models.runner import ModelRunner
from streamapp.obtain import Content, Obtained
from streamapp.policy import load_policy
from streamapp.reasons import Reason
from streamapp.settings import load_settings
from streamapp.spans import Tracing

SETTINGS = load_settings({"STREAMAPP_RESULTS_TOPIC": "rows", "STREAMAPP_DEAD_LETTER_TOPIC": "dead"})


class PairModel(BrightnessModel):
    """Runs frames in pairs."""

    batch_sizes = (1, 2)


class GatedSource:
    """Has every picture once its gate is open; none where the URL says missing."""

    def __init__(self, ensemble: Ensemble) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self._ensemble = ensemble

    async def obtain(self, url: str, **_: object) -> Obtained:
        await self.gate.wait()
        if "missing" in url:
            return Obtained(None, FetchError(Reason.NOT_FOUND, "404"))
        picture = picture_of(1)
        return Obtained(picture, None, self._ensemble.prepare(picture.frames), Content("00" * 32, 9))


class Room(GenerationApp):
    """Both stages with everything around them; the Faust app is the room itself."""

    def __init__(self, ensemble: Ensemble) -> None:
        super().__init__()
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tasks: list[asyncio.Task[Any]] = []
        source: Any = GatedSource(ensemble)
        self.gate = source.gate
        publisher: Any = RecordingPublisher([])
        policy = load_policy(None)
        engine = Engine(source, ensemble, Composer("1.0.0", policy))
        self.intake = Intake(
            self,
            events_in_flight=10,
            pictures_in_flight=10,
            unacked_events=10,
            tracing=Tracing(provider, SETTINGS),
        )
        ready: Any = asyncio.Queue(10)
        self.download = DownloadStage(self, self.intake, source, publisher, ready)
        inference = InferenceStage(self.intake, engine, publisher, ready)
        for _ in range(10):
            self.add_future(inference.run())

    def add_future(self, coroutine: Any) -> None:
        self.tasks.append(asyncio.create_task(coroutine))

    async def spans_of(self, events: list[SourceEvent]) -> list[ReadableSpan]:
        """Everything that is recorded until so many events have ended."""
        await self.download.run(AckRecordingStream(events))
        return await self.ended(len(events))

    async def ended(self, events: int) -> list[ReadableSpan]:
        async with asyncio.timeout(TIMEOUT_S):
            while len(self._roots()) < events:
                await asyncio.sleep(0)
        return list(self.exporter.get_finished_spans())

    def _roots(self) -> list[ReadableSpan]:
        return [span for span in self.exporter.get_finished_spans() if span.name == "process modify_user"]


@asynccontextmanager
async def opened_room() -> AsyncIterator[Room]:
    with ThreadPoolExecutor(2) as cpu:
        runner = ModelRunner(
            PairModel, cpu, instances=1, max_queued=8, max_wait_s=TIMEOUT_S, timeout_s=TIMEOUT_S
        )
        async with Ensemble([runner]) as ensemble:
            room = Room(ensemble)
            try:
                yield room
            finally:
                for task in room.tasks:
                    task.cancel()
                    with suppress(asyncio.CancelledError):
                        await task


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    async with opened_room() as made:
        yield made


def event_of(offset: int, url: str = "https://x/a.png") -> SourceEvent:
    value = {"user_id": "7", "event_properties": {"target_user_image_url": url}}
    return source_event(offset, value=json.dumps(value).encode())


def outcome_of(spans: list[ReadableSpan]) -> Any:
    (root,) = [span for span in spans if span.name == "process modify_user"]
    return (root.attributes or {})["streamapp.outcome"]


async def test_events_that_share_a_batch_have_all_stages_and_the_batch_links_to_both(room: Room) -> None:
    spans = await room.spans_of([event_of(0), event_of(1)])

    (batch,) = [span for span in spans if span.name == "batch nudenet"]
    roots = [span for span in spans if span.name == "process modify_user"]
    assert {link.context.span_id for link in batch.links} == {root.context.span_id for root in roots}
    for root in roots:
        stages = [span for span in spans if span.parent == root.context and span is not batch]
        assert [span.name for span in stages] == [
            "fetch",
            "decode",
            "prepare",
            "queue",
            "nudenet",
            "send rows",
        ]
        assert stages[-2].end_time <= stages[-1].start_time  # type: ignore[operator]  # ended spans have times
        for stage in stages:
            times: Any = (root.start_time, stage.start_time, stage.end_time, root.end_time)
            assert list(times) == sorted(times)


async def test_a_picture_that_cant_be_had_leaves_the_reason(room: Room) -> None:
    spans = await room.spans_of([event_of(0, "https://x/missing.png")])

    assert {span.name: span.status.description for span in spans} == {
        "fetch": "not_found",
        "queue": None,
        "send rows": None,
        "process modify_user": "not_found",
    }


@pytest.mark.parametrize(
    ("event", "outcome", "names"),
    [
        (source_event(0, value=b"{"), "dead letters", {"send dead", "process modify_user"}),
        (event_of(0, ""), "pictures removed", {"process modify_user"}),
    ],
)
async def test_an_event_without_a_picture_has_its_outcome(
    room: Room, event: SourceEvent, outcome: str, names: set[str]
) -> None:
    spans = await room.spans_of([event])

    assert outcome_of(spans) == outcome
    assert {span.name for span in spans} == names


async def test_an_event_that_is_lost_in_a_rebalance_says_so(room: Room) -> None:
    room.gate.clear()
    await room.download.run(AckRecordingStream([event_of(0)]))
    await settle()
    room.rebalance()
    room.download.cancel_lost_events()

    assert outcome_of(await room.ended(1)) == "lost"
