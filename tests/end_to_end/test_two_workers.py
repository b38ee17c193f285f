"""The delivery invariant with two real workers, one of them killed half-way; on Kafka: `tests/chaos`."""

import io
import itertools
from collections import Counter
from pathlib import Path

from PIL import Image
from workers import WorkerProcess, event

from streamapp.local.outcomes import Outcome, OutcomeReader
from streamapp.local.pictures import PictureServer
from streamapp.local.sending import send_values
from streamapp.records import SourcePosition
from streamapp.settings import Settings
from streamapp.topics import ensure_topics

EVENTS = 400
UNACKED_EVENTS = 60


def pictures() -> dict[str, bytes]:
    """Thirty small pictures, each of another colour."""
    files = {}
    for number in range(30):
        file = io.BytesIO()
        Image.new("RGB", (96, 64), (number * 8, 255 - number * 8, 90)).save(file, "JPEG")
        files[f"{number}.jpg"] = file.getvalue()
    return files


async def test_a_killed_worker_loses_nothing(
    kafka_variables: dict[str, str], kafka_settings: Settings, tmp_path: Path
) -> None:
    variables = kafka_variables | {
        "STREAMAPP_UNACKED_EVENTS": str(UNACKED_EVENTS),
        "STREAMAPP_EVENTS_IN_FLIGHT": "48",
        "STREAMAPP_NUDENET_THREADS": "1",
    }
    topics = await ensure_topics(kafka_settings)
    assert topics[0].partitions == 8
    counts: Counter[SourcePosition] = Counter()
    async with PictureServer(pictures()) as server, OutcomeReader(kafka_settings) as reader:
        names = itertools.cycle([*pictures(), "missing.jpg"])
        values = [event(user, server.url_of(next(names))) for user in range(EVENTS - 20)]
        values += [b"not json %d" % number for number in range(20)]
        sources = {source async for _, source in send_values(kafka_settings, values)}

        def count(outcome: Outcome) -> None:
            counts[outcome.source] += 1

        with (
            WorkerProcess(variables, tmp_path, "killed") as killed,
            WorkerProcess(variables, tmp_path, "survivor") as survivor,
        ):

            def kill_half_way() -> None:
                survivor.check()
                if len(counts) >= EVENTS // 2 and killed.process.poll() is None:
                    killed.process.kill()

            overdue = await reader.collect(sources, timeout_s=150, on_outcome=count, check=kill_half_way)
            assert killed.process.poll() == -9, "The worker was to be killed half-way."
            log = survivor.log

    assert not overdue, f"{len(overdue)} of {EVENTS} events have no outcome:\n{log[-3000:]}"
    assert set(counts) == sources
    duplicates = sum(counts.values()) - EVENTS
    print(f"{EVENTS} events, {duplicates} duplicates after SIGKILL")
    assert duplicates <= 2 * UNACKED_EVENTS
