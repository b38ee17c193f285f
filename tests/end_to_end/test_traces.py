"""A real worker sends the traces of its events, below those of their producer, before it has ended."""

import asyncio
import io
import signal
from collections import Counter
from pathlib import Path

from aiokafka import AIOKafkaProducer
from otlp_collector import open_collector
from PIL import Image
from workers import WorkerProcess, event

from streamapp.kafka import client_options
from streamapp.local.outcomes import OutcomeReader
from streamapp.local.pictures import PictureServer
from streamapp.records import SourcePosition
from streamapp.settings import Settings
from streamapp.topics import ensure_topics

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT_ID = "00f067aa0ba902b7"


async def test_a_worker_sends_the_trace_of_every_event(
    kafka_variables: dict[str, str], kafka_settings: Settings, tmp_path: Path
) -> None:
    await ensure_topics(kafka_settings)
    picture = io.BytesIO()
    Image.new("RGB", (64, 48)).save(picture, "JPEG")
    headers = [("traceparent", f"00-{TRACE_ID}-{PARENT_ID}-01".encode())]
    async with (
        open_collector() as collector,
        PictureServer({"a.jpg": picture.getvalue()}) as server,
        OutcomeReader(kafka_settings) as reader,
        AIOKafkaProducer(**client_options(kafka_settings)) as producer,
    ):
        values = [event("7", server.url_of("a.jpg")), event("8", server.url_of("missing.jpg")), b"not json"]
        sent = [
            await producer.send_and_wait(kafka_settings.events_topic, value, headers=headers)
            for value in values
        ]
        sources = {SourcePosition(record.topic, record.partition, record.offset) for record in sent}
        variables = kafka_variables | {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint}
        with WorkerProcess(variables, tmp_path) as worker:
            assert not await reader.collect(
                set(sources), timeout_s=60, on_outcome=lambda _: None, check=worker.check
            )
            worker.process.send_signal(signal.SIGTERM)
            # The collector answers on this loop.
            assert await asyncio.to_thread(worker.process.wait, 30) == 0, worker.log
        requests = [collector.requests.get_nowait() for _ in range(collector.requests.qsize())]

    spans = [
        span
        for request in requests
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    assert {span.trace_id.hex() for span in spans} == {TRACE_ID}
    roots = [span for span in spans if span.parent_span_id.hex() == PARENT_ID]
    about = [{a.key: a.value for a in span.attributes} for span in roots]
    assert {
        SourcePosition(
            a["messaging.destination.name"].string_value,
            int(a["messaging.destination.partition.id"].string_value),
            a["messaging.kafka.offset"].int_value,
        )
        for a in about
    } == sources
    assert sorted(span.status.message for span in roots) == ["", "dead_letter", "not_found"]
    assert Counter(span.name for span in spans if span not in roots) == {
        "fetch": 2,
        "decode": 1,
        "prepare": 1,
        "queue": 2,
        "batch nudenet": 1,
        "nudenet": 1,
        f"send {kafka_settings.results_topic}": 2,
        f"send {kafka_settings.dead_letter_topic}": 1,
    }
