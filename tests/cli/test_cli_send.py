"""`streamapp send` as a process of its own, on the embedded broker; the test plays the worker."""

import asyncio
import io
import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiohttp import ClientSession
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from click.testing import CliRunner
from rich.console import Console

from streamapp.cli.send import _produce, command
from streamapp.errors import BrokerError
from streamapp.kafka import client_options
from streamapp.local import sending
from streamapp.local.broker import EmbeddedBroker
from streamapp.local.events import make_event
from streamapp.records import ModelAttributes, ResultRow, read_event
from streamapp.settings import Settings
from streamapp.topics import ensure_topics

TIMEOUT_S = 30


@pytest.fixture
async def events(kafka_settings: Settings) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer at the beginning of the events topic."""
    topics = await ensure_topics(kafka_settings)
    partitions = [TopicPartition(topics[0].name, number) for number in range(topics[0].partitions)]
    async with AIOKafkaConsumer(**client_options(kafka_settings)) as consumer:
        consumer.assign(partitions)
        for partition in partitions:
            consumer.seek(partition, 0)
        yield consumer


async def send(folder: Path, variables: dict[str, str], *arguments: str) -> asyncio.subprocess.Process:
    """Start the command in an empty folder, so that no .env of the developer is read."""
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith("STREAMAPP_")}
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "streamapp", "send", *arguments),
        cwd=folder,
        env=kept | variables,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


async def output_of(process: asyncio.subprocess.Process) -> str:
    """Wait for the end; what it wrote."""
    async with asyncio.timeout(TIMEOUT_S):
        output, _ = await process.communicate()
    return output.decode()


async def take(events: AIOKafkaConsumer, count: int) -> list[ConsumerRecord]:
    records: list[ConsumerRecord] = []
    async with asyncio.timeout(TIMEOUT_S):
        while len(records) < count:
            for batch in (await events.getmany(timeout_ms=500)).values():
                records += batch
    return records


def row_for(record: ConsumerRecord, *, to_be_moderated: bool = False) -> bytes:
    event = read_event(record.value)
    source = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
    return ResultRow(
        UID=event.user_id,
        USERNAME=event.username,
        IMAGE_URL=event.image_url,
        COUNTRY=event.country,
        EVENT_TIME=event.event_time,
        MESSAGE_RECEIVE_TIME="2022-06-21 02:18:04.776753+00:00",
        TOTAL_DURATION=0.1,
        MODEL_ATTRIBUTES=ModelAttributes(USER_ID=event.user_id, PROVENANCE={"source": source}),
        PREDICTED_PRIMARY_CATEGORY="",
        PREDICTED_SECONDARY_CATEGORY="",
        MODEL_VERSION="1.0.0",
        TO_BE_MODERATED=to_be_moderated,
    ).to_json()


async def test_a_folder_is_served_until_each_of_its_pictures_has_a_row(
    tmp_path: Path, kafka_settings: Settings, kafka_variables: dict[str, str], events: AIOKafkaConsumer
) -> None:
    pictures = {"a.png": b"picture a", "b/c d.jpg": b"picture c"}
    folder = tmp_path / "pictures"
    for name, content in pictures.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    process = await send(tmp_path, kafka_variables, str(folder), "--timeout", str(TIMEOUT_S))
    records = await take(events, 2)
    found = {}
    async with ClientSession() as client, AIOKafkaProducer(**client_options(kafka_settings)) as producer:
        for record in records:
            event = read_event(record.value)
            assert record.key == event.user_id.encode()
            async with client.get(event.image_url) as response:
                found[event.user_id] = await response.read()
            row = row_for(record, to_be_moderated=found[event.user_id] == b"picture a")
            await producer.send_and_wait(kafka_settings.results_topic, row)
    output = await output_of(process)
    assert process.returncode == 0, output
    assert sorted(found.values()) == [b"picture a", b"picture c"]
    assert "STREAMAPP_ALLOW_PRIVATE_HOSTS=127.0.0.1" in output
    assert f"Sent 2 events to {kafka_settings.events_topic}" in output
    assert "2 rows, 1 to be moderated; 0 dead letters." in output


async def test_urls_are_sent_for_the_given_user_without_waiting(
    tmp_path: Path, kafka_variables: dict[str, str], events: AIOKafkaConsumer
) -> None:
    urls = ["https://cdn.example.com/a.png", "https://cdn.example.com/b.png"]
    process = await send(tmp_path, kafka_variables, *urls, "--user-id", "37217839", "--rate", "1000")
    output = await output_of(process)
    assert process.returncode == 0, output
    sent = [read_event(record.value) for record in await take(events, 2)]
    assert [(event.user_id, event.image_url) for event in sent] == [("37217839", url) for url in urls]


async def test_the_lines_of_a_file_are_sent_as_they_are(
    tmp_path: Path, kafka_variables: dict[str, str], events: AIOKafkaConsumer
) -> None:
    lines = [
        b'{"user_id": 7, "odd":  true}',
        b"{not json",
        b'"\xff"',
        make_event("8", "https://x.example/8.png"),
    ]
    (tmp_path / "events.jsonl").write_bytes(b"\n".join(lines))
    process = await send(tmp_path, kafka_variables, "--events", "events.jsonl")
    output = await output_of(process)
    assert process.returncode == 0, output
    records = await take(events, len(lines))
    assert {(record.key, record.value) for record in records} == set(
        zip((b"7", None, None, b"8"), lines, strict=True)
    )


async def test_a_removed_picture_is_not_waited_for(
    tmp_path: Path, kafka_variables: dict[str, str], events: AIOKafkaConsumer
) -> None:
    (tmp_path / "events.jsonl").write_bytes(make_event("7", ""))
    process = await send(tmp_path, kafka_variables, "--events", "events.jsonl", "--wait")
    output = await output_of(process)
    assert process.returncode == 0, output
    assert "0 rows, 0 to be moderated; 0 dead letters." in output


async def test_without_a_worker_the_missing_outcomes_are_told(
    tmp_path: Path, kafka_variables: dict[str, str], events: AIOKafkaConsumer
) -> None:
    url = "https://cdn.example.com/a.png"
    process = await send(tmp_path, kafka_variables, url, "--wait", "--timeout", "0.1")
    output = await output_of(process)
    assert process.returncode == 1, output
    assert "1 events had no outcome after 0.1 s. Does a worker run?" in output


async def test_how_many_events_went_out_is_told_when_the_broker_dies(
    kafka_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "_REQUEST_TIMEOUT_MS", 500)
    output = Console(file=io.StringIO())
    with EmbeddedBroker() as broker:
        settings = kafka_settings.model_copy(update={"brokers": broker.bootstrap_servers})
        await ensure_topics(settings)

        def values() -> Iterator[bytes]:
            for number in range(5):
                if number == 3:
                    broker.stop()
                yield make_event(str(number), "https://cdn.example.com/a.png")

        with pytest.raises(BrokerError, match="did not take the events"):
            await _produce(settings, values(), None, 1000, output)

    assert isinstance(output.file, io.StringIO)
    assert f"Sent 3 events to {settings.events_topic}" in output.file.getvalue()
    assert "some of the next may be there, too." in output.file.getvalue()


async def test_a_missing_topic_is_told_with_the_command_that_creates_it(
    tmp_path: Path, kafka_settings: Settings, kafka_variables: dict[str, str]
) -> None:
    process = await send(tmp_path, kafka_variables, "https://cdn.example.com/a.png")
    output = await output_of(process)
    assert process.returncode == 1, output
    assert f"has no topic {kafka_settings.events_topic}: `streamapp topics` creates" in output
    assert "Traceback" not in output


@pytest.mark.parametrize(
    "arguments",
    [[], ["a.png", "--events", __file__], ["--events", __file__, "--user-id", "7"], ["a.png", "--rate", "0"]],
)
def test_options_that_do_not_go_together_are_refused(arguments: list[str]) -> None:
    assert CliRunner().invoke(command, arguments).exit_code == 2


def test_help_shows_examples() -> None:
    assert "streamapp send --events events.jsonl --rate 50" in CliRunner().invoke(command, ["--help"]).output
