"""Pictures/s of a real worker for good URLs, alone and with every fourth URL hostile, in the same run.

Real broker (the embedded one), real HTTP servers in processes of their own, real Faust worker, NudeNet. The
hostile URLs are of ten kinds (`KINDS`), some of which never end; they lie on `--hosts` hosts other than that
of the good ones. Timed from the first good row to the last; the runs alternate. Linux only. Prints one JSON
line.

    python benchmarks/hostile.py [--events 1500] [--runs 3] [--hosts 40]
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from end_to_end import make_pictures, model_variables, send, server_process, worker_process
from machine import machine_facts
from stream import variables

from streamapp.local.broker import EmbeddedBroker
from streamapp.local.outcomes import OutcomeReader
from streamapp.settings import load_settings
from streamapp.topics import ensure_topics

KINDS = (
    "silent",
    "drip",
    "endless",
    "loop",
    "failing",
    "reset",
    "bomb.png",
    "truncated.jpg",
    "page.jpg",
    "absent",
)


def mixed(good: list[str], hostile: list[str]) -> list[str]:
    """Three good URLs, then a hostile one, and so on."""
    urls = []
    for number, url in enumerate(good):
        urls.append(url)
        if number % 3 == 2:
            urls.append(hostile[number // 3 % len(hostile)])
    return urls


async def measure(environment: dict[str, str], urls: list[str], good: set[str]) -> dict[str, Any]:
    """Run a worker on events that are all there when it starts, until every good URL has its row."""
    settings = load_settings(environment)
    await ensure_topics(settings)
    async with OutcomeReader(settings) as reader:
        await send(settings, urls)
        with worker_process(environment) as worker:
            return await _watch(reader, worker, sum(url in good for url in urls), good)


async def _watch(
    reader: OutcomeReader, worker: subprocess.Popen[bytes], count: int, good: set[str]
) -> dict[str, Any]:
    seen: set[Any] = set()
    reasons: Counter[str] = Counter()
    first_seen, started_s = 0, 0.0
    while len(seen) < count:
        if worker.poll() is not None:
            raise SystemExit(f"The worker ended with {worker.returncode}.")
        for outcome in await reader.read(0.2):
            assert outcome.row is not None
            if outcome.row.IMAGE_URL not in good:
                reasons[outcome.row.MODEL_ATTRIBUTES.PROVENANCE["reason"]] += 1
                continue
            assert not any(outcome.row.MODEL_ATTRIBUTES.statuses().values())
            seen.add(outcome.source)
        if seen and not first_seen:
            first_seen, started_s = len(seen), time.perf_counter()
    rate = (count - first_seen) / (time.perf_counter() - started_s)
    return {"good_per_s": round(rate, 1), "hostile_rows": dict(reasons)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1500, help="good ones")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--hosts", type=int, default=40, help="hosts of the hostile URLs, at most 250")
    arguments = parser.parse_args()
    hosts = [f"127.0.1.{number + 1}" for number in range(arguments.hosts)]
    with tempfile.TemporaryDirectory() as name, tempfile.TemporaryDirectory() as weights:
        make_pictures(Path(name))
        names = sorted(path.name for path in Path(name).iterdir())
        models = model_variables("nudenet", Path(weights))
        with (
            server_process("serve_pictures.py", name) as base_url,
            server_process("serve_hostile.py", *hosts) as port,
        ):
            good = [base_url + names[number % len(names)] for number in range(arguments.events)]
            # Coprime strides, so that every kind comes from every host.
            hostile = [
                f"http://{hosts[number % len(hosts)]}:{port}/{KINDS[number // len(hosts) % len(KINDS)]}"
                for number in range(len(hosts) * len(KINDS))
            ]
            hostile = [hostile[number * 7919 % len(hostile)] for number in range(len(hostile))]
            runs: dict[str, list[dict[str, Any]]] = {"alone": [], "with_hostile": []}
            for _ in range(arguments.runs):
                for kind, urls in (("alone", good), ("with_hostile", mixed(good, hostile))):
                    with EmbeddedBroker() as broker:
                        allowed = ",".join(["127.0.0.1", *hosts])
                        environment = variables(broker) | {"STREAMAPP_ALLOW_PRIVATE_HOSTS": allowed} | models
                        runs[kind].append(asyncio.run(measure(environment, urls, set(good))))
    rates = {kind: statistics.median(run["good_per_s"] for run in made) for kind, made in runs.items()}
    result = {
        "benchmark": "hostile",
        "events": arguments.events,
        "hosts": arguments.hosts,
        **{f"good_per_s_{kind}": rate for kind, rate in rates.items()},
        "ratio": round(rates["with_hostile"] / rates["alone"], 3),
        "hostile_rows": runs["with_hostile"][-1]["hostile_rows"],
        **machine_facts("aiohttp", "faust-streaming", "pillow"),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
