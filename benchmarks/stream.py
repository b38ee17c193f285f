"""Events/s of the stream engine alone, beside plain aiokafka on the same broker in the same run.

Real broker (the embedded one), real Faust worker, window, acks, rows; what is left out is fetching and
the models' own work. What metrics cost is in it too: the same worker without them, and with them and
Prometheus asking every second. Prints one JSON line.

    python benchmarks/stream.py [--events 40000] [--runs 3]
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from machine import machine_facts

from streamapp.local.broker import EmbeddedBroker, free_port
from streamapp.settings import Settings, load_settings
from streamapp.topics import ensure_topics

PARTITIONS = 8
SCRAPE_EVERY_S = 1.0
# Name → models, whether metrics are kept, whether they are asked for.
WORKERS = {
    "no_model": (0, True, False),
    "one_free_model": (1, True, False),
    "without_metrics": (1, False, False),
    "scraped": (1, True, True),
}
# As long as a real row: about 1.8 kB.
ROW = b"x" * 1800
EVENT = {
    "app_version_id": "2.17.0",
    "country": "co",
    "device_id": "32462456-a204-e251-d25e-2096652e993e",
    "event_properties": {
        "target_user_image_url": "https://cdn.example.com/user/profile/7c754bea1aa6672b/5e459c67de6fec5d.png",
        "target_user_name": "example_name",
        "target_user_id": 37217839,
    },
    "event_time": "2022-06-10 01:21:01",
    "os_name": "android",
}


def variables(broker: EmbeddedBroker) -> dict[str, str]:
    name = uuid.uuid4().hex[:8]
    return {
        "STREAMAPP_BROKERS": broker.bootstrap_servers,
        "STREAMAPP_EVENTS_TOPIC": f"events-{name}",
        "STREAMAPP_RESULTS_TOPIC": f"results-{name}",
        "STREAMAPP_DEAD_LETTER_TOPIC": f"dead-{name}",
        "STREAMAPP_GROUP": f"group-{name}",
        "STREAMAPP_SESSION_TIMEOUT_S": "6",
        "STREAMAPP_REBALANCE_TIMEOUT_S": "3",
        "STREAMAPP_TOPIC_PARTITIONS": str(PARTITIONS),
        "STREAMAPP_MODELS": "nudenet",
    }


async def fill(settings: Settings, events: int) -> None:
    """Produce the events, spread over the partitions."""
    await ensure_topics(settings)
    async with AIOKafkaProducer(bootstrap_servers=settings.brokers, linger_ms=5) as producer:
        for start in range(0, events, 1000):
            sent = [
                await producer.send(
                    settings.events_topic,
                    json.dumps(EVENT | {"user_id": str(user)}).encode(),
                    key=str(user).encode(),
                )
                for user in range(start, min(events, start + 1000))
            ]
            await asyncio.gather(*sent)


async def plain(settings: Settings, events: int) -> dict[str, Any]:
    """The least that a program can do: getmany, send a row's bytes for each event, await, commit."""
    consumer = AIOKafkaConsumer(
        settings.events_topic,
        bootstrap_servers=settings.brokers,
        group_id=f"{settings.group}-plain",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        session_timeout_ms=6000,
        rebalance_timeout_ms=3000,
        heartbeat_interval_ms=1000,
    )
    done = 0
    start = cpu = 0.0
    async with consumer, AIOKafkaProducer(bootstrap_servers=settings.brokers, linger_ms=5) as producer:
        while done < events:
            batches = await consumer.getmany(timeout_ms=1000, max_records=500)
            records = [record for batch in batches.values() for record in batch]
            start = start or time.perf_counter()
            cpu = cpu or time.process_time()
            sent = [await producer.send(settings.results_topic, ROW, key=r.key) for r in records]
            await asyncio.gather(*sent)
            await consumer.commit()
            done += len(records)
        wall_s, cpu_s = time.perf_counter() - start, time.process_time() - cpu
    return {"events_per_s": round(done / wall_s), "cpu_us_per_event": round(cpu_s / done * 1e6)}


@contextmanager
def scraping(port: int) -> Iterator[None]:
    """Ask for the worker's metrics every second, as long as there is a worker that answers."""
    is_over = threading.Event()

    def scrape() -> None:
        while not is_over.wait(SCRAPE_EVERY_S):
            with suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5).read()

    thread = threading.Thread(target=scrape)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def worker(
    environment: dict[str, str], events: int, models: int, has_metrics: bool, is_scraped: bool
) -> dict[str, Any]:
    """Our worker on the same events."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder, scraping(port):
        figures = Path(folder) / "figures.json"
        command = [sys.executable, "-m", "faust", "-A", "stream_worker", "worker"]
        command += [] if is_scraped else ["--without-web"]
        extra = {
            "STREAM_EVENTS": str(events),
            "STREAM_FIGURES": str(figures),
            "STREAM_MODELS": str(models),
            "STREAM_METRICS": str(int(has_metrics)),
            "STREAMAPP_WEB_PORT": str(port),
            "PYTHONPATH": str(Path(__file__).parent),
        }
        run = subprocess.run(
            command,
            env=os.environ | environment | extra,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=300,
        )
        if not figures.exists():
            raise SystemExit(f"The worker ended with {run.returncode}:\n{run.stdout}\n{run.stderr}")
        return dict(json.loads(figures.read_text()))


def median(runs: list[dict[str, Any]]) -> dict[str, float]:
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=40_000)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in ("plain_aiokafka", *WORKERS)}
    for _ in range(arguments.runs):
        with EmbeddedBroker() as broker:
            for name, options in WORKERS.items():
                environment = variables(broker)
                settings = load_settings(environment)
                asyncio.run(fill(settings, arguments.events))
                if name == "no_model":
                    results["plain_aiokafka"].append(asyncio.run(plain(settings, arguments.events)))
                results[name].append(worker(environment, arguments.events, *options))
    medians = {name: median(runs) for name, runs in results.items()}
    print(
        json.dumps(
            {
                "benchmark": "stream",
                "events": arguments.events,
                "partitions": PARTITIONS,
                "runs": arguments.runs,
                **medians,
                "ratio_to_plain": round(
                    medians["one_free_model"]["events_per_s"] / medians["plain_aiokafka"]["events_per_s"], 3
                ),
                "scraped_to_without_metrics": {
                    name: round(medians["scraped"][name] / medians["without_metrics"][name], 3)
                    for name in ("events_per_s", "cpu_us_per_event")
                },
                **machine_facts("faust-streaming", "aiokafka", "uvloop"),
            }
        )
    )


if __name__ == "__main__":
    main()
