"""A URL that never answers holds up its own event, and neither a rebalance nor an orderly stop."""

import asyncio
import io
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from workers import WorkerProcess, event

from streamapp.local.outcomes import Outcome, OutcomeReader
from streamapp.local.pictures import PictureServer
from streamapp.local.sending import send_values
from streamapp.records import SourcePosition
from streamapp.settings import Settings
from streamapp.topics import ensure_topics


@pytest.fixture
def silent_url() -> Iterator[str]:
    """A server that takes the connection and says nothing, ever."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/silent.jpg"


@pytest.fixture
def patient_variables(kafka_variables: dict[str, str]) -> dict[str, str]:
    """A worker that waits for a server longer than any test lasts, and for its group as short as can be."""
    patient = dict.fromkeys(
        ("STREAMAPP_READ_TIMEOUT_S", "STREAMAPP_DOWNLOAD_TIMEOUT_S", "STREAMAPP_FETCH_DEADLINE_S"), "600"
    )
    quick = {"STREAMAPP_SESSION_TIMEOUT_S": "3", "STREAMAPP_REBALANCE_TIMEOUT_S": "1"}
    return kafka_variables | patient | quick


def jpeg() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 48), "blue").save(file, "JPEG")
    return file.getvalue()


async def send(settings: Settings, *values: bytes) -> list[SourcePosition]:
    return [source async for _, source in send_values(settings, values)]


async def test_an_orderly_stop_gives_it_up_and_the_next_worker_gets_it_again(
    patient_variables: dict[str, str], kafka_settings: Settings, silent_url: str, tmp_path: Path
) -> None:
    await ensure_topics(kafka_settings)
    seen: list[Outcome] = []
    async with PictureServer({"a.jpg": jpeg()}) as server, OutcomeReader(kafka_settings) as reader:
        (slow,) = await send(kafka_settings, event("slow", silent_url))
        others = await send(kafka_settings, *(event(n, server.url_of("a.jpg")) for n in range(40)))
        with WorkerProcess(patient_variables, tmp_path, "first") as first:
            assert not await reader.collect(
                others, timeout_s=60, on_outcome=seen.append, check=first.check
            ), "One slow URL must not hold up other events' rows."
            first.process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(first.process.wait, 20) == 0, first.log
            assert "events could not be acked within" in first.log
        impatient = patient_variables | {
            "STREAMAPP_READ_TIMEOUT_S": "0.2",
            "STREAMAPP_DOWNLOAD_ATTEMPTS": "1",
        }
        with WorkerProcess(impatient, tmp_path, "second") as second:
            overdue = await reader.collect([slow], timeout_s=60, on_outcome=seen.append, check=second.check)

    assert not overdue
    (row,) = [outcome.row for outcome in seen if outcome.source == slow]
    assert row is not None
    assert row.MODEL_ATTRIBUTES.PROVENANCE["reason"] == "timeout"
    repeated = [outcome.source for outcome in seen if outcome.source != slow]
    # Only what stands behind the slow event on its partition could not be committed.
    assert {source.partition for source in repeated if repeated.count(source) > 1} <= {slow.partition}


async def test_a_second_worker_gets_its_partitions_all_the_same(
    patient_variables: dict[str, str], kafka_settings: Settings, silent_url: str, tmp_path: Path
) -> None:
    await ensure_topics(kafka_settings)
    seen: list[Outcome] = []
    async with PictureServer({"a.jpg": jpeg()}) as server, OutcomeReader(kafka_settings) as reader:
        await send(kafka_settings, event("slow", silent_url))
        early = await send(kafka_settings, *(event(n, server.url_of("a.jpg")) for n in range(40)))
        with WorkerProcess(patient_variables, tmp_path, "first") as first:
            assert not await reader.collect(early, timeout_s=60, on_outcome=seen.append, check=first.check)
            with WorkerProcess(patient_variables, tmp_path, "second") as second:
                while "Assigned events" not in second.log:
                    second.check()
                    first.check()
                    await asyncio.sleep(0.1)
                late = await send(kafka_settings, *(event(n, server.url_of("a.jpg")) for n in range(40)))
                overdue = await reader.collect(late, timeout_s=60, on_outcome=seen.append, check=second.check)

    assert not overdue, first.log + second.log
