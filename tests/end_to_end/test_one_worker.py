"""One real worker on a real broker: outcomes, and how it starts and ends."""

import asyncio
import io
import signal
import time
from pathlib import Path

import pytest
from PIL import Image
from workers import WorkerProcess, event

from streamapp.local.broker import EmbeddedBroker, free_port
from streamapp.local.outcomes import Outcome, OutcomeReader
from streamapp.local.pictures import PictureServer
from streamapp.local.sending import send_values
from streamapp.settings import Settings
from streamapp.topics import ensure_topics


def jpeg(colour: str = "green") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 48), colour).save(file, "JPEG")
    return file.getvalue()


async def test_every_event_gets_the_outcome_that_is_its_own(
    kafka_variables: dict[str, str], kafka_settings: Settings, tmp_path: Path
) -> None:
    await ensure_topics(kafka_settings)
    pictures = {"good.jpg": jpeg(), "text.png": b"no picture", "cut.jpg": jpeg()[:200], "empty.jpg": b""}
    async with PictureServer(pictures) as server, OutcomeReader(kafka_settings) as reader:
        expected = {
            event("good", server.url_of("good.jpg")): ("row", 0, None),
            event("missing", server.url_of("missing.jpg")): ("row", 403, "not_found"),
            event("text", server.url_of("text.png")): ("row", 1, "unknown_format"),
            event("cut", server.url_of("cut.jpg")): ("row", 1, "broken_file"),
            event("empty", server.url_of("empty.jpg")): ("row", 1, "empty_file"),
            event("private", "http://169.254.169.254/latest/meta-data"): ("row", 403, "address_blocked"),
            event("file", "file:///etc/passwd"): ("row", 403, "url_scheme"),
            event(12, server.url_of("good.jpg")): ("row", 0, None),
            b"not json": ("dead", "not_json"),
            event(None, server.url_of("good.jpg")): ("dead", "no_user_id"),
            b'{"user_id": "1"}': ("dead", "no_event_properties"),
        }
        values = [*expected, event("removed", ""), event("removed too", None)]
        sources = {source: value async for value, source in send_values(kafka_settings, values)}
        waiting = {source for source, value in sources.items() if value in expected}
        outcomes: dict[bytes, list[Outcome]] = {}
        with WorkerProcess(kafka_variables, tmp_path) as worker:
            overdue = await reader.collect(
                waiting,
                timeout_s=60,
                on_outcome=lambda outcome: outcomes.setdefault(sources[outcome.source], []).append(outcome),
                check=worker.check,
            )
            worker.process.send_signal(signal.SIGTERM)
            assert worker.process.wait(30) == 0, worker.log

    assert not overdue
    assert {value: [summary(outcome) for outcome in found] for value, found in outcomes.items()} == {
        value: [summary] for value, summary in expected.items()
    }


def summary(outcome: Outcome) -> tuple[object, ...]:
    if outcome.row is None:
        return ("dead", outcome.dead_letter)
    attributes = outcome.row.MODEL_ATTRIBUTES
    assert outcome.row.TO_BE_MODERATED is (attributes.NN_STATUS != 0)
    return ("row", attributes.NN_STATUS, attributes.PROVENANCE["reason"])


async def test_a_worker_goes_on_where_the_one_before_it_stopped(
    kafka_variables: dict[str, str], kafka_settings: Settings, tmp_path: Path
) -> None:
    await ensure_topics(kafka_settings)
    seen: list[Outcome] = []
    async with PictureServer({"a.jpg": jpeg()}) as server, OutcomeReader(kafka_settings) as reader:
        for start in (0, 30):
            values = [event(user, server.url_of("a.jpg")) for user in range(start, start + 30)]
            sources = [source async for _, source in send_values(kafka_settings, values)]
            with WorkerProcess(kafka_variables, tmp_path) as worker:
                overdue = await reader.collect(
                    sources, timeout_s=60, on_outcome=seen.append, check=worker.check
                )
                worker.process.send_signal(signal.SIGTERM)
                assert worker.process.wait(30) == 0, worker.log
            assert not overdue

    # An orderly end commits everything: the second worker repeats nothing.
    assert sorted(int(outcome.row.UID) for outcome in seen if outcome.row) == list(range(60))


def test_a_broker_that_is_away_is_one_clear_line_and_another_try(
    kafka_variables: dict[str, str], tmp_path: Path
) -> None:
    kafka_variables["STREAMAPP_BROKERS"] = f"127.0.0.1:{free_port()}"
    with WorkerProcess(kafka_variables, tmp_path) as worker:
        deadline = time.monotonic() + 40
        while "Asking again" not in worker.log and time.monotonic() < deadline:
            worker.check()
            time.sleep(0.1)
        assert "does not answer" in worker.log
        assert "Traceback" not in worker.log
        worker.process.send_signal(signal.SIGTERM)
        worker.process.wait(30)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("STREAMAPP_EVENTS_IN_FLIGHTS", "5", "STREAMAPP_EVENTS_IN_FLIGHT"),
        ("STREAMAPP_EVENTS_IN_FLIGHT", "none", "STREAMAPP_EVENTS_IN_FLIGHT"),
        ("STREAMAPP_NUDENET_WEIGHTS", "/nowhere/320n.onnx", "/nowhere/320n.onnx"),
    ],
)
def test_a_worker_with_a_bad_setting_does_not_start_and_names_it(
    kafka_variables: dict[str, str], tmp_path: Path, name: str, value: str, message: str
) -> None:
    with WorkerProcess(kafka_variables | {name: value}, tmp_path) as worker:
        assert worker.process.wait(30) == 1
        assert message in worker.log
        assert "Traceback" not in worker.log


def test_a_worker_without_its_topics_names_them_and_ends(
    kafka_variables: dict[str, str], tmp_path: Path
) -> None:
    with WorkerProcess(kafka_variables, tmp_path) as worker:
        assert worker.process.wait(30) == 1
        assert kafka_variables["STREAMAPP_EVENTS_TOPIC"] in worker.log
        assert "streamapp topics" in worker.log


async def test_a_worker_whose_handler_raises_ends_and_acks_nothing(
    kafka_variables: dict[str, str], kafka_settings: Settings, embedded_broker: EmbeddedBroker, tmp_path: Path
) -> None:
    await ensure_topics(kafka_settings)
    # A module that the interpreter loads at start breaks the composition of rows: a bug in a handler.
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "sitecustomize.py").write_text(
        "import streamapp.compose as c\n"
        "def compose(*a, **k): raise ZeroDivisionError('a bug in a handler')\n"
        "c.Composer.compose = compose\n"
    )
    seen: list[Outcome] = []
    async with PictureServer({"a.jpg": jpeg()}) as server, OutcomeReader(kafka_settings) as reader:
        values = [event(user, server.url_of("a.jpg")) for user in range(20)]
        sources = [source async for _, source in send_values(kafka_settings, values)]
        with WorkerProcess(kafka_variables | {"PYTHONPATH": str(broken)}, tmp_path, "broken") as worker:
            # In a thread: the picture server runs on this test's loop.
            assert await asyncio.to_thread(worker.process.wait, 60) == 1, worker.log
            assert "a bug in a handler" in worker.log
        with WorkerProcess(kafka_variables, tmp_path) as worker:
            overdue = await reader.collect(sources, timeout_s=60, on_outcome=seen.append, check=worker.check)

    assert not overdue
    assert len(seen) == 20
