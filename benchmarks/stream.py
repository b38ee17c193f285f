"""Events/s of the stream engine alone, beside plain aiokafka on the same broker in the same run.

Real broker (the embedded one), real Faust worker, window, acks, rows; what is left out is fetching and
the models' own work. Prints one JSON line.

What metrics cost is in it too (`metrics`): a worker of its own in each run goes on with them and without
them in turns, some forty stretches of events each, side by side, so that what the machine does besides falls
on both alike. `ratio` compares the medians of all stretches with and without; `ratio_of_neighbours` is the
median of the ratios of those side by side, and lies with 95 % certainty in `interval_95`, which more runs
make narrower. On a busy machine the CPU time per event says more than the events/s.

    python benchmarks/stream.py [--events 40000] [--runs 3] [--only-metrics]
"""

import argparse
import asyncio
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections import defaultdict
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from machine import machine_facts

from streamapp.local.broker import EmbeddedBroker, free_port
from streamapp.local.kafka.broker import KafkaBroker
from streamapp.settings import Settings, load_settings
from streamapp.topics import ensure_topics

PARTITIONS = 8
# Name → models.
WORKERS = {"no_model": 0, "one_free_model": 1}
METRICS_ROUNDS = 40
FIGURES = ("events_per_s", "cpu_us_per_event")
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


def variables(broker: EmbeddedBroker | KafkaBroker) -> dict[str, str]:
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


def filled(broker: EmbeddedBroker, events: int) -> dict[str, str]:
    """The environment of a worker that has so many events before it."""
    environment = variables(broker)
    asyncio.run(fill(load_settings(environment), events))
    return environment


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


def worker(environment: dict[str, str], events: int, models: int, metrics_rounds: int = 0) -> dict[str, Any]:
    """Our worker on the same events; with rounds the figures of its stretches, with and without metrics."""
    with tempfile.TemporaryDirectory() as folder:
        figures = Path(folder) / "figures.json"
        command = [sys.executable, "-m", "faust", "-A", "stream_worker", "worker"]
        extra = {
            "STREAM_EVENTS": str(events),
            "STREAM_FIGURES": str(figures),
            "STREAM_MODELS": str(models),
            "STREAM_METRICS_ROUNDS": str(metrics_rounds),
            "STREAMAPP_WEB_PORT": str(free_port()),
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


def measure(arguments: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """Name → the figures of every run; of metrics those of every stretch."""
    results: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for _ in range(arguments.runs):
        with EmbeddedBroker() as broker:
            for name, models in {} if arguments.only_metrics else WORKERS.items():
                environment = filled(broker, arguments.events)
                if not models:
                    settings = load_settings(environment)
                    results["plain_aiokafka"].append(asyncio.run(plain(settings, arguments.events)))
                results[name].append(worker(environment, arguments.events, models))
            environment = filled(broker, arguments.events)
            stretches = worker(environment, arguments.events, 1, METRICS_ROUNDS)
            for name, found in stretches.items():
                results[name] += found
    return results


def median(runs: list[dict[str, Any]]) -> dict[str, float]:
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


def metrics_overhead(
    with_them: list[dict[str, Any]], without: list[dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Figure → with metrics : without, of the medians and of neighbours."""
    found = {}
    for name in FIGURES:
        ratios = [a[name] / b[name] for a, b in zip(with_them, without, strict=True)]
        found[name] = {
            "ratio": round(median(with_them)[name] / median(without)[name], 3),
            "ratio_of_neighbours": round(statistics.median(ratios), 3),
            "interval_95": [round(ratio, 3) for ratio in median_interval(ratios)],
        }
    return found


def median_interval(values: list[float]) -> tuple[float, float]:
    """Where the median lies with 95 % certainty, by the order of the values alone (binomial)."""
    ordered, middle = sorted(values), len(values) / 2
    reach = 0.98 * math.sqrt(len(values))
    return ordered[max(0, int(middle - reach))], ordered[min(len(values), math.ceil(middle + reach)) - 1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=40_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only-metrics", action="store_true", help="nothing but what metrics cost")
    arguments = parser.parse_args()
    results = measure(arguments)
    medians = {name: median(runs) for name, runs in results.items()}
    line = {
        "benchmark": "stream",
        "events": arguments.events,
        "partitions": PARTITIONS,
        "runs": arguments.runs,
        **medians,
        "metrics": metrics_overhead(results["with_metrics"], results["without_metrics"]),
    }
    if not arguments.only_metrics:
        ours, plain_rate = (medians[name]["events_per_s"] for name in ("one_free_model", "plain_aiokafka"))
        line["ratio_to_plain"] = round(ours / plain_rate, 3)
    print(json.dumps(line | machine_facts("faust-streaming", "aiokafka", "uvloop")))


if __name__ == "__main__":
    main()
