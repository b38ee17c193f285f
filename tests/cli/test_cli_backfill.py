"""`streamapp backfill` as a process of its own, with the real model, on real brokers."""

import io
import json
import logging
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from click.testing import CliRunner
from command_process import Command, Ended, ended
from kafka_records import records_of
from PIL import Image

from streamapp.backfill.display import log_above_bar
from streamapp.backfill.planning import Request, find_plan, group_of
from streamapp.backfill.ranges import TimeSpan
from streamapp.backfill.source import open_source
from streamapp.cli import backfill as backfill_command
from streamapp.cli.backfill import command
from streamapp.errors import BrokerError
from streamapp.kafka import client_options
from streamapp.local.broker import free_port
from streamapp.local.display import make_console
from streamapp.local.events import make_event
from streamapp.local.kafka.broker import KafkaBroker
from streamapp.local.outcomes import Outcome, OutcomeReader
from streamapp.local.pictures import PictureServer
from streamapp.offsets import PartitionOffsets
from streamapp.records import SourcePosition
from streamapp.settings import Settings, load_settings
from streamapp.topics import ensure_topics

# That the tests' own server may be reached, and that a new Kafka has no coordinator yet.
NOTICES = ("allow_private_hosts is set", "GroupCoordinatorNotAvailableError")
START = datetime(2026, 11, 20, 12, tzinfo=UTC)


class Backfill:
    """Runs `streamapp backfill` with the test's settings."""

    def __init__(self, folder: Path, variables: dict[str, str]) -> None:
        self.settings = load_settings(variables)
        self.started = Command("backfill", folder, variables).started

    async def __call__(self, *arguments: str) -> Ended:
        async with self.started(*arguments) as process:
            return without_notices(await ended(process))


def without_notices(done: Ended) -> Ended:
    """The same without the notices of the test's set-up."""
    lines = done.errors.splitlines(keepends=True)
    kept = [line for line in lines if not any(text in line for text in NOTICES)]
    return replace(done, errors="".join(kept))


@pytest.fixture
async def backfill(tmp_path: Path, kafka_variables: dict[str, str]) -> Backfill:
    """On the embedded broker."""
    return await with_topics(tmp_path, kafka_variables)


@pytest.fixture
async def on_kafka(tmp_path: Path, kafka_variables: dict[str, str], kafka_broker: KafkaBroker) -> Backfill:
    """On Apache Kafka."""
    return await with_topics(
        tmp_path, kafka_variables | {"STREAMAPP_BROKERS": kafka_broker.bootstrap_servers}
    )


async def with_topics(folder: Path, variables: dict[str, str]) -> Backfill:
    made = Backfill(
        folder, variables | {"STREAMAPP_TOPIC_PARTITIONS": "3", "STREAMAPP_EVENTS_IN_FLIGHT": "8"}
    )
    await ensure_topics(made.settings)
    return made


@pytest.fixture
async def server() -> AsyncIterator[PictureServer]:
    file = io.BytesIO()
    Image.new("RGB", (64, 48), "green").save(file, "JPEG")
    async with PictureServer({"good.jpg": file.getvalue()}) as running:
        yield running


async def send(settings: Settings, values: Sequence[bytes]) -> list[SourcePosition]:
    """Send one event a minute, round the partitions; the first at START."""
    positions = []
    async with AIOKafkaProducer(**client_options(settings)) as producer:
        for number, value in enumerate(values):
            at_ms = int((START + timedelta(minutes=number)).timestamp() * 1000)
            sent = await producer.send_and_wait(
                settings.events_topic, value, partition=number % settings.topic_partitions, timestamp_ms=at_ms
            )
            positions.append(SourcePosition(sent.topic, sent.partition, sent.offset))
    return positions


async def commit_as_the_workers(settings: Settings) -> dict[TopicPartition, int]:
    """Leave the workers' group somewhere in the middle."""
    options = client_options(settings)
    # With its own commits it would commit the end when it leaves.
    async with AIOKafkaConsumer(group_id=settings.group, enable_auto_commit=False, **options) as consumer:
        places = [TopicPartition(settings.events_topic, n) for n in range(settings.topic_partitions)]
        consumer.assign(places)
        offsets = {place: 1 + place.partition for place in places}
        await consumer.commit(offsets)
    return offsets


async def committed(settings: Settings, group: str) -> dict[TopicPartition, int]:
    async with open_source(settings, group) as source:
        return {
            TopicPartition(source.topic, number): offset
            for number, (offset, _) in (await source.committed()).items()
        }


def position_of(row: bytes) -> SourcePosition:
    source = json.loads(row)["MODEL_ATTRIBUTES"]["PROVENANCE"]["source"]
    return SourcePosition(source["topic"], source["partition"], source["offset"])


async def test_the_events_of_a_span_get_rows_of_the_run_and_the_workers_group_stays_where_it_is(
    on_kafka: Backfill, server: PictureServer
) -> None:
    settings = on_kafka.settings
    good, missing = server.url_of("good.jpg"), server.url_of("missing.jpg")
    values = [make_event(str(user), good) for user in range(12)]
    values[4:8] = [make_event("4", missing), make_event("5", ""), b"no event", make_event("7", good)]
    positions = await send(settings, values)
    before = await commit_as_the_workers(settings)
    span = ["--from", "2026-11-20T13:03+01:00", "--to", "2026-11-20T12:09", "--run", "a-run"]

    ran = await on_kafka(*span, "--rate", "1000")
    assert (ran.exit_code, ran.errors) == (0, "")
    rows = [json.loads(record.value) for record in await records_of(settings, settings.results_topic, 4)]

    found = {row["UID"]: row["MODEL_ATTRIBUTES"] for row in rows}
    assert {uid: (row["NN_STATUS"], row["PROVENANCE"]["backfill"]) for uid, row in found.items()} == {
        "3": (0, "a-run"),
        "4": (403, "a-run"),
        "7": (0, "a-run"),
        "8": (0, "a-run"),
    }
    assert found["8"]["PROVENANCE"]["source"]["offset"] == positions[8].offset
    assert "Run a-run is done: 6 events in" in ran.output
    assert "4 rows, 1 pictures removed, 1 unreadable." in ran.output
    assert "Rows without a verdict: 1 not_found." in ran.output
    assert await committed(settings, settings.group) == before

    again = await on_kafka(*span)
    assert again.exit_code == 0
    assert again.output == "The run a-run is done: nothing is left of its 6 offsets.\n"


async def test_a_killed_run_goes_on_and_every_event_of_its_range_has_a_row(
    on_kafka: Backfill, server: PictureServer
) -> None:
    settings = on_kafka.settings
    positions = set(await send(settings, [make_event(str(u), server.url_of("good.jpg")) for u in range(120)]))
    group = f"{settings.group}-backfill-killed"
    counts: Counter[SourcePosition] = Counter()

    def count(outcome: Outcome) -> None:
        counts[outcome.source] += 1

    async with OutcomeReader(settings) as reader:
        async with on_kafka.started("--from", "2026-11-20", "--run", "killed", "--rate", "30") as process:
            done: dict[TopicPartition, int] = {}
            while len(counts) < 40 or sum(done.values()) < 10:
                for outcome in await reader.read(0.2):
                    count(outcome)
                assert process.returncode is None
                done = await committed(settings, group)
            process.kill()
            await process.wait()
        done = await committed(settings, group)
        # What came later is no part of the run.
        await send(settings, [make_event("later", server.url_of("good.jpg"))] * 3)
        ran = await on_kafka("--run", "killed")
        assert ran.exit_code == 0, ran.errors
        overdue = await reader.collect(positions - set(counts), timeout_s=10, on_outcome=count)
        for outcome in await reader.read(1):
            count(outcome)

    assert not overdue
    assert set(counts) - positions == set()
    assert sum(done.values()) < 120, "It was to be killed half-way."
    repeated = {position for position, rows in counts.items() if rows > 1}
    print(f"120 events, {len(repeated)} repeated after SIGKILL")
    # Nothing that was committed is done again.
    assert all(at.offset >= done[TopicPartition(at.topic, at.partition)] for at in repeated)


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_a_stopped_run_says_how_to_go_on_and_repeats_nothing(
    on_kafka: Backfill, server: PictureServer, number: signal.Signals, exit_code: int
) -> None:
    settings = on_kafka.settings
    positions = await send(settings, [make_event(str(u), server.url_of("good.jpg")) for u in range(60)])

    async with on_kafka.started("--offsets", "0:0-", "--offsets", "2:5-9", "--rate", "20") as process:
        assert process.stdout is not None
        output = b""
        while b"backfill: 5 of 25" not in output:
            line = await process.stdout.readline()
            assert line, await ended(process)
            output += line
        process.send_signal(number)
        rest = without_notices(await ended(process))
    assert (rest.exit_code, rest.errors) == (exit_code, "")
    assert "Stopping: " in rest.output and " was stopped: " in rest.output
    go_on = output.decode().partition("this goes on with it: streamapp backfill ")[2].splitlines()[0]
    # Once more at the end: the first one has scrolled away.
    assert rest.output.endswith(f"This goes on with it: streamapp backfill {go_on}\n")

    ran = await on_kafka(*go_on.split())
    assert (ran.exit_code, ran.errors) == (0, "")
    rows = await records_of(settings, settings.results_topic, 25)
    expected = [p for p in positions if p.partition == 0 or (p.partition == 2 and 5 <= p.offset <= 9)]
    assert Counter(position_of(row.value) for row in rows) == Counter(expected)


async def test_events_are_chosen_by_the_reason_of_their_latest_row(
    backfill: Backfill, server: PictureServer
) -> None:
    settings = backfill.settings
    names = ["good.jpg", "missing.jpg", "good.jpg", "missing.jpg"]
    await send(settings, [make_event(str(u), server.url_of(name)) for u, name in enumerate(names)])
    everything = [text for number in range(3) for text in ("--offsets", f"{number}:0-")]
    first = await backfill(*everything, "--run", "first")
    assert "This broker does not keep the plan of a run" in first.output

    ran = await backfill(*everything, "--run", "second", "--only-reason", "not_found,timeout")
    assert (ran.exit_code, ran.errors) == (0, "")
    rows = [json.loads(record.value) for record in await records_of(settings, settings.results_topic, 6)]
    runs = Counter((row["UID"], row["MODEL_ATTRIBUTES"]["PROVENANCE"]["backfill"]) for row in rows)
    assert runs == Counter(
        [(uid, "first") for uid in "0123"] + [("1", "second"), ("3", "second")],
    )
    assert "2 not chosen, 2 rows." in ran.output


async def test_rows_go_to_another_topic_where_that_is_wanted(
    backfill: Backfill, server: PictureServer
) -> None:
    settings = backfill.settings
    await send(settings, [make_event("7", server.url_of("good.jpg"))])
    other = settings.results_topic + "-other"
    ran = await backfill("--offsets", "0:0", "--results-topic", other)
    assert ran.exit_code == 1
    assert f"no topic {other}: `STREAMAPP_RESULTS_TOPIC={other} streamapp topics` creates it." in ran.errors

    await ensure_topics(settings.model_copy(update={"results_topic": other}))
    ran = await backfill("--offsets", "0:0", "--results-topic", other)
    assert (ran.exit_code, ran.errors) == (0, "")
    assert len(await records_of(settings, other, 1)) == 1


async def test_a_dry_run_shows_the_range_and_leaves_nothing_behind(backfill: Backfill) -> None:
    settings = backfill.settings
    await send(settings, [make_event("7", "https://cdn.example.com/a.png")] * 9)
    ran = await backfill(
        "--offsets", "0:1-2", "--offsets", "2:0-", "--run", "dry", "--rate", "2", "--dry-run"
    )
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in ran.output.splitlines()]

    assert (ran.exit_code, ran.errors) == (0, "")
    assert [row for row in cells if row] == [["0", "1", "2", "2"], ["2", "0", "2", "3"]]
    assert (
        f"To be re-read: 5 events of {settings.events_topic}; rows to {settings.results_topic}, in 2 s"
        in ran.output
    )
    assert await committed(settings, f"{settings.group}-backfill-dry") == {}


class RowsAreRead(Exception):
    """In place of the models, which are not loaded."""


async def test_an_id_is_taken_before_the_rows_are_read_which_takes_long(
    on_kafka: Backfill, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = on_kafka.settings
    await send(settings, [make_event("7", "https://cdn.example.com/a.png")])

    async def begin_another(*_: Any) -> None:
        async with open_source(settings, group_of(settings.group, "a-run")) as source:
            with pytest.raises(BrokerError, match="The run 'a-run' was begun with another range"):
                await find_plan(source, Request("a-run", TimeSpan(START)), settings.results_topic)
        raise RowsAreRead

    monkeypatch.setattr(backfill_command, "select", begin_another)
    request = Request("a-run", (PartitionOffsets(0, 0, 0),), None, ("timeout",))
    options = backfill_command._Options(request, None, is_dry_run=False)
    with pytest.raises(RowsAreRead):
        await backfill_command._backfill(settings, options, make_console())


async def test_what_the_topic_does_not_hold_is_one_line_and_exit_code_1(backfill: Backfill) -> None:
    await send(backfill.settings, [make_event("7", "https://cdn.example.com/a.png")])
    for arguments, message in (
        (["--offsets", "7:0-1"], "has no partition 7, only 0 to 2."),
        (["--offsets", "0:0-5"], "goes beyond them."),
        (["--run", "unknown"], "The broker knows no run 'unknown'"),
    ):
        ran = await backfill(*arguments)
        assert (ran.exit_code, ran.output) == (1, "")
        assert message in ran.errors
        assert ran.errors.count("\n") == 1


async def test_a_broker_that_is_away_is_one_line(tmp_path: Path, kafka_variables: dict[str, str]) -> None:
    variables = kafka_variables | {"STREAMAPP_BROKERS": f"127.0.0.1:{free_port()}"}
    ran = await Backfill(tmp_path, variables)("--offsets", "0:0-1")

    assert (ran.exit_code, ran.output) == (1, "")
    assert "does not answer" in ran.errors
    assert ran.errors.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Give --from or --offsets, or --run"),
        (["--rate", "5"], "Give --from or --offsets, or --run"),
        (["--to", "2026-11-20"], "--to needs --from"),
        (["--from", "2026-11-20", "--offsets", "0:1-2"], "not both"),
        (["--from", "yesterday"], "is no time like"),
        (["--from", "2999-01-01"], "is in the future"),
        (["--from", "2026-01-01", "--to", "2999-01-01"], "is in the future"),
        (["--from", "2026-01-02", "--to", "2026-01-01"], "is not after"),
        (["--offsets", "0:5-1"], "ends before it begins"),
        (["--offsets", "0:1-2", "--offsets", "0:5-6"], "Partition 0 has more than one range"),
        (["--offsets", "0:1-2", "--run", "a run"], "has other characters"),
        (["--offsets", "0:1-2", "--rate", "0"], "--rate"),
        (["--offsets", "0:1-2", "--only-reason", "time_out"], "circuit_open"),
        (["--offsets", "0:1-2", "--only-reason", ","], "circuit_open"),
    ],
)
def test_options_that_can_not_be_are_refused(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(command, arguments)

    assert result.exit_code == 2
    assert message in " ".join(result.output.split())


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("kind", [Terminal, io.StringIO])
def test_the_log_goes_through_what_keeps_it_from_the_bar_on_a_terminal(
    kind: type[io.StringIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    stderr, beside_the_bar = kind(), kind()
    handler = logging.StreamHandler(stderr)
    monkeypatch.setattr(logging.root, "handlers", [handler])
    monkeypatch.setattr(sys, "stderr", beside_the_bar)
    with log_above_bar():
        logging.getLogger("streamapp").warning("while the bar is there")
    logging.getLogger("streamapp").warning("afterwards")

    during, after = (beside_the_bar, stderr) if kind is Terminal else (stderr, stderr)
    assert "while the bar is there\n" in during.getvalue()
    assert "afterwards\n" in after.getvalue()


def test_the_log_keeps_its_stream_where_rich_has_put_none_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = Terminal()
    monkeypatch.setattr(logging.root, "handlers", [logging.StreamHandler(stderr)])
    monkeypatch.setattr(sys, "stderr", stderr)
    with log_above_bar():
        pass
    logging.getLogger("streamapp").warning("afterwards")

    assert "afterwards\n" in stderr.getvalue()
