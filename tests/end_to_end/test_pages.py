"""What a real worker says of itself: /live, /ready, /metrics, its log and its exit codes."""

import asyncio
import io
import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from PIL import Image
from workers import WorkerProcess, event

from streamapp.exits import Exit
from streamapp.local.broker import free_port
from streamapp.local.kafka.broker import KafkaBroker
from streamapp.local.outcomes import OutcomeReader, wait_until_committed
from streamapp.local.pictures import PictureServer
from streamapp.local.sending import send_values
from streamapp.metrics import METRICS
from streamapp.records import SourcePosition
from streamapp.settings import Settings, load_settings
from streamapp.topics import ensure_topics

TIMEOUT_S = 60


class Pages:
    """Asks a worker for its pages."""

    def __init__(self, worker: WorkerProcess, session: aiohttp.ClientSession) -> None:
        self.worker = worker
        self._session = session

    async def get(self, path: str) -> tuple[int, str]:
        """Status and body; 0 where nobody answers."""
        try:
            async with self._session.get(path) as response:
                return response.status, await response.text()
        except aiohttp.ClientError:
            return 0, ""

    async def until(self, path: str, status: int, **holds: bool) -> dict[str, Any]:
        """Ask until it answers so, with these conditions so; the conditions then."""
        body = ""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                while True:
                    found, body = await self.get(path)
                    conditions = json.loads(body) if found else {}
                    if found == status and all(
                        conditions[name]["holds"] is value for name, value in holds.items()
                    ):
                        return dict(conditions)
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"{path} still says {body}\n{self.worker.log}") from None

    async def value(self, name: str, **labels: str) -> float:
        """A metric's value; of all label sets with these labels the sum."""
        _, text = await self.get("/metrics")
        return sum(
            float(line.rpartition(" ")[2])
            for line in text.splitlines()
            if re.match(rf"{name}[ {{]", line) and all(f'{k}="{v}"' in line for k, v in labels.items())
        )

    async def exit_code(self) -> int:
        """Wait until the process has ended."""
        try:
            return await asyncio.to_thread(self.worker.process.wait, TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"It goes on:\n{self.worker.log}") from None


@asynccontextmanager
async def worker_with_pages(variables: Mapping[str, str], folder: Path) -> AsyncIterator[Pages]:
    port = free_port()
    with WorkerProcess({**variables, "STREAMAPP_WEB_PORT": str(port)}, folder, has_pages=True) as worker:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            yield Pages(worker, session)


def jpeg() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 48), "green").save(file, "JPEG")
    return file.getvalue()


async def send(settings: Settings, values: Sequence[bytes]) -> list[SourcePosition]:
    return [source async for _, source in send_values(settings, values)]


def broken_model(folder: Path, body: str) -> dict[str, str]:
    """Variables of a worker whose NudeNet does something else from the time on when it is warm.

    Args:
        body: what `infer` does then; a module that the interpreter loads at start puts it there.
    """
    (folder / "sitecustomize.py").write_text(
        "import time\n"
        "from streamapp.models import lanes, nudenet\n"
        "real = lanes.Lanes.load_and_warm_up\n"
        "def infer(self, batch):\n"
        f"    {body}\n"
        "async def load_and_warm_up(self):\n"
        "    await real(self)\n"
        "    nudenet.NudeNet.infer = infer\n"
        "lanes.Lanes.load_and_warm_up = load_and_warm_up\n"
    )
    return {"PYTHONPATH": str(folder)}


async def test_metrics_tell_what_became_of_the_events(
    kafka_variables: dict[str, str], kafka_settings: Settings, tmp_path: Path
) -> None:
    await ensure_topics(kafka_settings)
    async with (
        PictureServer({"a.jpg": jpeg(), "text.png": b"no picture"}) as server,
        OutcomeReader(kafka_settings) as reader,
        worker_with_pages(kafka_variables, tmp_path) as pages,
    ):
        await pages.until("/ready", 200)
        urls = [server.url_of("a.jpg")] * 5 + [server.url_of("text.png"), "http://127.0.0.1:1/a.jpg", ""]
        sources = await send(kafka_settings, [*(event(n, url) for n, url in enumerate(urls)), b"not json"])
        await reader.collect(
            set(sources) - {sources[7]},
            timeout_s=TIMEOUT_S,
            on_outcome=lambda _: None,
            check=pages.worker.check,
        )
        await wait_until_committed(kafka_settings, sources, timeout_s=TIMEOUT_S)
        _, text = await pages.get("/metrics")

        # The page may be a commit's answer behind the broker.
        async with asyncio.timeout(TIMEOUT_S):
            while await pages.value("streamapp_partition_lag_events"):
                await asyncio.sleep(0.05)
        counted = {
            name: await pages.value(name, **labels)
            for name, labels in (
                ("streamapp_fetch_seconds_count", {}),
                ("streamapp_decode_seconds_count", {}),
                ("streamapp_prepare_seconds_count", {}),
                ("streamapp_publish_seconds_count", {}),
                ("streamapp_event_seconds_count", {}),
                ("streamapp_model_batch_frames_sum", {"network": "nudenet"}),
                ("streamapp_model_queue_seconds_count", {"network": "nudenet"}),
                ("streamapp_events_in_flight", {}),
                ("streamapp_events_unacked", {}),
            )
        }
        outcomes = {
            outcome: await pages.value("streamapp_events_total", outcome=outcome)
            for outcome in ("rows", "dead_letters", "pictures_removed")
        }
        reasons = {
            reason: await pages.value("streamapp_rows_without_verdict_total", reason=reason)
            for reason in ("unknown_format", "connection_failed")
        }
        retries = await pages.value("streamapp_fetch_retries_total", reason="connection_failed")
        partitions = await pages.value("streamapp_partitions")

    assert [metric.name for metric in METRICS if f"# TYPE {metric.name} {metric.kind}" not in text] == []
    assert outcomes == {"rows": 7, "dead_letters": 1, "pictures_removed": 1}
    assert reasons == {"unknown_format": 1, "connection_failed": 1}
    assert retries == 1  # download_attempts is 2
    assert partitions == kafka_settings.topic_partitions
    assert counted == {
        "streamapp_fetch_seconds_count": 7,
        "streamapp_decode_seconds_count": 6,
        "streamapp_prepare_seconds_count": 5,
        "streamapp_publish_seconds_count": 7,
        "streamapp_event_seconds_count": 9,
        "streamapp_model_batch_frames_sum": 5,
        "streamapp_model_queue_seconds_count": 5,
        "streamapp_events_in_flight": 0,
        "streamapp_events_unacked": 0,
    }
    assert "process_resident_memory_bytes" in text


async def test_a_worker_that_waits_for_its_broker_is_live_and_not_ready(
    kafka_variables: dict[str, str], tmp_path: Path
) -> None:
    kafka_variables["STREAMAPP_BROKERS"] = f"127.0.0.1:{free_port()}"
    async with worker_with_pages(kafka_variables, tmp_path) as pages:
        conditions = await pages.until("/ready", 503, broker=False, models=False, partitions=False)
        assert conditions["models"]["detail"] == "are loading"
        await pages.until("/live", 200)
        pages.worker.process.send_signal(signal.SIGTERM)
        assert await pages.exit_code() == Exit.ORDERLY, pages.worker.log


async def test_a_port_that_is_taken_ends_the_start_and_says_what_to_set(
    kafka_variables: dict[str, str], tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        kafka_variables["STREAMAPP_WEB_PORT"] = str(taken.getsockname()[1])
        with WorkerProcess(kafka_variables, tmp_path, has_pages=True) as worker:
            assert await asyncio.to_thread(worker.process.wait, TIMEOUT_S) == Exit.ERROR
    assert "Another worker on this machine needs another STREAMAPP_WEB_PORT" in worker.log
    assert "Traceback" not in worker.log


async def test_ready_follows_the_broker_and_live_does_not(
    kafka_variables: dict[str, str], kafka_broker: KafkaBroker, tmp_path: Path
) -> None:
    kafka_variables["STREAMAPP_BROKERS"] = kafka_broker.bootstrap_servers
    await ensure_topics(load_settings(kafka_variables))
    async with worker_with_pages(kafka_variables, tmp_path) as pages:
        await pages.until("/ready", 200)
        kafka_broker.kill()
        await pages.until("/ready", 503, broker=False, models=True)
        await pages.until("/live", 200)
        await asyncio.to_thread(kafka_broker.start)
        await pages.until("/ready", 200)
        pages.worker.check()


def java_in(folder: Path) -> int:
    """The process that runs Java in this folder."""
    (pid,) = (
        int(process.name)
        for process in Path("/proc").glob("[0-9]*")
        if os.access(process / "cwd", os.R_OK)
        and (process / "cwd").resolve() == folder.resolve()
        and (process / "comm").read_text() == "java\n"
    )
    return pid


async def test_a_broker_that_keeps_its_connections_and_answers_nothing_is_noticed(
    kafka_variables: dict[str, str], kafka_broker: KafkaBroker, tmp_path: Path
) -> None:
    kafka_variables["STREAMAPP_BROKERS"] = kafka_broker.bootstrap_servers
    await ensure_topics(load_settings(kafka_variables))
    kafka = java_in(kafka_broker.folder)
    async with worker_with_pages(kafka_variables, tmp_path) as pages:
        await pages.until("/ready", 200)
        os.kill(kafka, signal.SIGSTOP)
        try:
            await pages.until("/ready", 503, broker=False, models=True)
        finally:
            os.kill(kafka, signal.SIGCONT)
        await pages.until("/ready", 200)
        pages.worker.check()


@pytest.mark.parametrize(
    ("body", "timeout_s", "code"),
    [
        ("time.sleep(3600)", "1", Exit.HUNG),
        ("raise RuntimeError('CUDA error: illegal memory access')", "60", Exit.DEVICE_LOST),
    ],
    ids=["hangs", "fails on everything"],
)
async def test_a_worker_whose_model_is_of_no_use_any_more_ends_with_its_code_and_loses_nothing(
    kafka_variables: dict[str, str],
    kafka_settings: Settings,
    tmp_path: Path,
    body: str,
    timeout_s: str,
    code: Exit,
) -> None:
    await ensure_topics(kafka_settings)
    broken = tmp_path / "broken"
    broken.mkdir()
    variables = (
        kafka_variables
        | broken_model(broken, body)
        | {
            "STREAMAPP_MODEL_TIMEOUT_S": timeout_s,
            "STREAMAPP_DRAIN_TIMEOUT_S": "5",
            "STREAMAPP_LOG_FORMAT": "json",
        }
    )
    async with PictureServer({"a.jpg": jpeg()}) as server, OutcomeReader(kafka_settings) as reader:
        sources = await send(kafka_settings, [event(n, server.url_of("a.jpg")) for n in range(20)])
        async with worker_with_pages(variables, tmp_path) as pages:
            assert await pages.exit_code() == code, pages.worker.log
            log = pages.worker.log
        with WorkerProcess(kafka_variables, tmp_path, "healthy") as worker:
            overdue = await reader.collect(
                sources, timeout_s=TIMEOUT_S, on_outcome=lambda _: None, check=worker.check
            )

    assert not overdue
    entries = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    assert f"exit code {code}" in entries[-1]["message"]
    assert not any("failed on the picture" in entry["message"] for entry in entries), "no picture is blamed"


async def test_a_loop_that_stands_still_turns_live_red_and_ends_the_worker(
    kafka_variables: dict[str, str], kafka_settings: Settings, tmp_path: Path
) -> None:
    await ensure_topics(kafka_settings)
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "sitecustomize.py").write_text(
        "import time, streamapp.compose as c\n"
        "def compose(*a, **k): time.sleep(3600)\n"
        "c.Composer.compose = compose\n"
    )
    variables = kafka_variables | {"PYTHONPATH": str(broken), "STREAMAPP_LOOP_TIMEOUT_S": "8"}
    async with PictureServer({"a.jpg": jpeg()}) as server:
        await send(kafka_settings, [event(1, server.url_of("a.jpg"))])
        async with worker_with_pages(variables, tmp_path) as pages:
            await pages.until("/live", 503, event_loop=False)
            assert await pages.exit_code() == Exit.HUNG, pages.worker.log
            # The stacks say where it stands.
            assert "in compose" in pages.worker.log
