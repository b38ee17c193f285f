"""What one URL that hangs for its whole retry budget costs the others: nothing but its partition's commits.

Real broker (the embedded one), real HTTP server in a process of its own, real Faust worker, NudeNet; a steady
stream of events, the first of which names a server that takes the connection and says nothing. Every event's
wait is from its Kafka timestamp to its row's. Runs with and without the hanging URL alternate. Prints one
JSON line.

    python benchmarks/head_of_line.py [--seconds 40] [--rate 20] [--budget 25] [--runs 2]
"""

import argparse
import asyncio
import json
import socket
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from end_to_end import make_pictures, model_variables, server_process, worker_process
from machine import machine_facts
from stream import variables

from streamapp.kafka import client_options
from streamapp.local.broker import EmbeddedBroker
from streamapp.local.events import make_event
from streamapp.local.outcomes import Outcome, OutcomeReader
from streamapp.local.sending import send_values
from streamapp.records import SourcePosition
from streamapp.settings import Settings, load_settings
from streamapp.topics import ensure_topics

SAMPLE_EVERY_S = 0.5
WARM_UP_EVENTS = 16
TIMEOUT_S = 120.0


@dataclass(slots=True)
class Stream:
    """What is sent and what came of it; times on the loop's clock."""

    sent: dict[SourcePosition, float]
    done: dict[SourcePosition, float]

    def waits_s(self, positions: Iterator[SourcePosition]) -> list[float]:
        return [self.done[position] - self.sent[position] for position in positions]


@contextmanager
def hanging_url() -> Iterator[str]:
    """A server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.2", 0), backlog=64) as server:
        yield f"http://127.0.0.2:{server.getsockname()[1]}/hangs.jpg"


async def measure(
    environment: dict[str, str], urls: list[str], rate_per_s: float, hanging: str | None
) -> dict[str, Any]:
    """Run a worker on a stream of events; the one that hangs comes first."""
    settings = load_settings(environment)
    await ensure_topics(settings)
    async with OutcomeReader(settings) as reader:
        with worker_process(environment):
            await _warm_up(settings, reader, urls[:WARM_UP_EVENTS])
            stream = Stream({}, {})
            reading = asyncio.create_task(_read(reader, stream))
            held: dict[int, int] = defaultdict(int)
            watching = asyncio.create_task(_watch_commits(settings, stream, held))
            head = None
            if hanging is not None:
                head = await _send(settings, stream, [hanging], None)
            await _send(settings, stream, urls, rate_per_s)
            async with asyncio.timeout(TIMEOUT_S):
                while len(stream.done) < len(stream.sent):
                    await asyncio.sleep(0.1)
            for task in (reading, watching):
                task.cancel()
            await asyncio.wait([reading, watching])
    return _figures(stream, held, head)


async def _warm_up(settings: Settings, reader: OutcomeReader, urls: list[str]) -> None:
    values = [make_event(f"w{number}", url) for number, url in enumerate(urls)]
    sources = [position async for _, position in send_values(settings, values)]
    late = await reader.collect(sources, timeout_s=TIMEOUT_S, on_outcome=lambda outcome: None)
    if late:
        raise SystemExit(f"{len(late)} events to warm up have no row after {TIMEOUT_S:.0f} s.")


async def _send(
    settings: Settings, stream: Stream, urls: list[str], rate_per_s: float | None
) -> SourcePosition | None:
    """Send an event for each URL; the position of the last."""
    position = None
    values = (make_event(str(number), url) for number, url in enumerate(urls))
    async for _, position in send_values(settings, values, rate_per_s=rate_per_s):
        stream.sent[position] = asyncio.get_running_loop().time()
    return position


async def _read(reader: OutcomeReader, stream: Stream) -> None:
    while True:
        outcome: Outcome
        for outcome in await reader.read(0.05):
            stream.done.setdefault(outcome.source, asyncio.get_running_loop().time())


async def _watch_commits(settings: Settings, stream: Stream, held: dict[int, int]) -> None:
    """Note for each partition the most events that had their row and no commit, a second after the row."""
    admin = AIOKafkaAdminClient(**client_options(settings))
    await admin.start()
    partitions = [
        TopicPartition(settings.events_topic, number) for number in range(settings.topic_partitions)
    ]
    try:
        while True:
            found = await admin.list_consumer_group_offsets(settings.group, partitions=partitions)
            settled_at = asyncio.get_running_loop().time() - 2.0
            for place, committed in found.items():
                waiting = sum(
                    position.partition == place.partition and position.offset >= committed.offset
                    for position, done_at in list(stream.done.items())
                    if done_at < settled_at
                )
                held[place.partition] = max(held[place.partition], waiting)
            await asyncio.sleep(SAMPLE_EVERY_S)
    finally:
        await admin.close()


def _figures(stream: Stream, held: dict[int, int], head: SourcePosition | None) -> dict[str, Any]:
    others = [position for position in stream.sent if position != head]
    own = {head.partition} if head else set()
    result = {
        "events": len(others),
        "wait_s": _spread(stream.waits_s(iter(others))),
        "held_back_commits_elsewhere": max((n for p, n in held.items() if p not in own), default=0),
    }
    if head is not None:
        behind = (position for position in others if position.partition == head.partition)
        result |= {
            "hung_s": round(stream.done[head] - stream.sent[head], 1),
            "wait_s_on_its_partition": _spread(stream.waits_s(behind)),
            "held_back_commits_on_its_partition": held[head.partition],
        }
    return result


def _spread(waits_s: list[float]) -> dict[str, float]:
    return {name: round(float(np.percentile(waits_s, q)), 3) for name, q in (("p50", 50), ("p99", 99))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=40.0, help="length of the stream")
    parser.add_argument("--rate", type=float, default=20.0, help="events in a second")
    parser.add_argument("--budget", type=float, default=25.0, help="STREAMAPP_FETCH_DEADLINE_S")
    parser.add_argument("--runs", type=int, default=2)
    arguments = parser.parse_args()
    runs: dict[str, list[dict[str, Any]]] = {"alone": [], "with_hanging_url": []}
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as weights:
        make_pictures(Path(folder))
        names = sorted(path.name for path in Path(folder).iterdir())
        models = model_variables("nudenet", Path(weights))
        budget = {"STREAMAPP_FETCH_DEADLINE_S": str(arguments.budget)}
        allowed = {"STREAMAPP_ALLOW_PRIVATE_HOSTS": "127.0.0.1,127.0.0.2"}
        with server_process("serve_pictures.py", folder) as base_url, hanging_url() as url:
            count = int(arguments.seconds * arguments.rate)
            urls = [base_url + names[number % len(names)] for number in range(count)]
            for _ in range(arguments.runs):
                for kind, hanging in (("alone", None), ("with_hanging_url", url)):
                    with EmbeddedBroker() as broker:
                        environment = variables(broker) | models | budget | allowed
                        runs[kind].append(asyncio.run(measure(environment, urls, arguments.rate, hanging)))
    p99 = {kind: statistics.median(run["wait_s"]["p99"] for run in made) for kind, made in runs.items()}
    result = {"benchmark": "head_of_line", "budget_s": arguments.budget, "wait_p99_s": p99, "runs": runs}
    print(json.dumps(result | machine_facts("faust-streaming", "aiokafka", "aiohttp")))


if __name__ == "__main__":
    main()
