"""`streamapp dead-letters` as a process of its own, on the embedded broker."""

import asyncio
import json
import signal
from pathlib import Path

import pytest
from click.testing import CliRunner
from command_process import Command, ended
from dead_letter_records import NOON, publish_letter, publish_record
from kafka_records import records_of

from streamapp.cli.dead_letters import command
from streamapp.cli.letters import escaped, hex_lines, letter_lines, letter_table, value_lines
from streamapp.dead_letters.letter import DeadLetter
from streamapp.errors import DeadLetterReason
from streamapp.local.display import make_console
from streamapp.local.kafka.broker import KafkaBroker
from streamapp.records import SourcePosition
from streamapp.settings import Settings, load_settings
from streamapp.topics import ensure_topics


@pytest.fixture
async def dead_letters(tmp_path: Path, kafka_variables: dict[str, str], kafka_settings: Settings) -> Command:
    await ensure_topics(kafka_settings)
    return Command("dead-letters", tmp_path, kafka_variables)


def letter(value: bytes | None = b"{", **changes: object) -> DeadLetter:
    fields: dict[str, object] = {
        "position": SourcePosition("dead", 1, 41210),
        "published_at": NOON,
        "reason": "not_json",
        "message": "The value is not JSON.",
        "source": SourcePosition("modify_user", 3, 7),
        "replays": 0,
        "key": b"7",
        "value": value,
        "headers": [],
        "lacks": None,
    }
    return DeadLetter(**(fields | changes))  # type: ignore[arg-type]  # the tests' own fields


async def test_dead_letters_are_a_table_oldest_first(dead_letters: Command, kafka_settings: Settings) -> None:
    source = SourcePosition(kafka_settings.events_topic, 5, 9)
    await publish_letter(kafka_settings, b"{", partition=1, source=source)
    await publish_letter(kafka_settings, b"[]", reason=DeadLetterReason.NOT_AN_OBJECT, source=source)
    _, _, _, *lines, _, last = (await dead_letters("list")).splitlines()

    cells = [(place, *rest) for place, _date, _time, *rest in map(str.split, lines)]
    assert cells == [("1:0", "not_json", "5:9", "0", "{"), ("0:0", "not_an_object", "5:9", "0", "[]")]
    assert last == "2 dead letters: 1 not_an_object, 1 not_json."


async def test_json_has_all_of_a_dead_letter(dead_letters: Command, kafka_settings: Settings) -> None:
    own = [("trace", b"\xff"), ("empty", None)]
    source = SourcePosition(kafka_settings.events_topic, 5, 9)
    await publish_letter(kafka_settings, b"\x9b\xff", key=None, headers=own, source=source, at=NOON)  # type: ignore[arg-type]  # Kafka has empty headers

    assert json.loads(await dead_letters("list", "--json")) == {
        "position": {"topic": kafka_settings.dead_letter_topic, "partition": 0, "offset": 0},
        "time": "2026-11-22 12:00:00.000000+00:00",
        "reason": "not_json",
        "message": "The value is not JSON.",
        "source": {"topic": source.topic, "partition": 5, "offset": 9},
        "replays": 0,
        "is_sent_back": False,
        "key": None,
        "value_base64": "m/8=",
        "lacks": None,
        "headers": [{"name": "trace", "value_base64": "/w=="}, {"name": "empty", "value": None}],
    }


async def test_dead_letters_are_chosen(
    dead_letters: Command,
    kafka_settings: Settings,
    kafka_variables: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # In this process, for there are so many; which keeps its own handlers.
    monkeypatch.setattr("streamapp.cli.dead_letters.configure_logs", lambda level: None)
    for minute, partition in enumerate((0, 0, 0, 1)):
        reason = DeadLetterReason.NO_USER_ID if minute == 1 else DeadLetterReason.NOT_JSON
        at = NOON.replace(minute=minute)
        await publish_letter(kafka_settings, b"%d" % minute, partition=partition, reason=reason, at=at)
    expected = {
        "": "0123",
        "--all": "0123",
        "--last 2": "23",
        "--reason not_json": "023",
        "--reason not_json --reason no_user_id --partition 0": "012",
        "--offsets 0:1": "1",
        "--offsets 0:1- --offsets 1:0-5": "123",
        "--offsets 0:0-1 --partition 1": "013",
        "--since 2026-11-22T12:02": "23",
    }
    found = {}
    for options in expected:
        arguments = ["list", "--json", *options.split()]
        shown = await asyncio.to_thread(CliRunner().invoke, command, arguments, env=kafka_variables)
        found[options] = "".join(sorted(json.loads(line)["value"] for line in shown.output.splitlines()))
    assert found == expected

    output = await dead_letters("list", "--last", "1")
    assert output.endswith(
        "4 dead letters: 3 not_json, 1 no_user_id. The newest 1 are shown; --all shows every one.\n"
    )


async def test_without_dead_letters_there_is_only_their_count(dead_letters: Command) -> None:
    assert await dead_letters("list") == "0 dead letters.\n"


async def test_one_is_shown_whole(dead_letters: Command, kafka_settings: Settings) -> None:
    await publish_letter(kafka_settings, b"\x1b[31m{\n\xc3\xbc}", headers=[("trace", b"\x07")], at=NOON)
    topic = kafka_settings.dead_letter_topic

    assert (await dead_letters("show", "0:0")).splitlines() == [
        f"position   {topic}[0]@0",
        "time       2026-11-22 12:00:00.000000+00:00",
        "reason     not_json",
        "message    The value is not JSON.",
        f"source     {kafka_settings.events_topic}[3]@41210",
        "replays    0",
        "key        7",
        r"header     trace = \x07",
        "value      10 bytes",
        r"\x1b[31m{",
        "ü}",
    ]
    assert (
        (await dead_letters("show", f"{topic}[0]@0", "--hex"))
        .splitlines()[-1]
        .startswith("00000000  1b 5b 33")
    )
    assert await dead_letters("show", "0:0", "--raw") == "\x1b[31m{\nü}"
    assert json.loads(await dead_letters("show", "0:0", "--json"))["value"] == "\x1b[31m{\nü}"


async def test_a_record_that_is_not_there_is_told_with_those_that_are(
    dead_letters: Command, kafka_settings: Settings
) -> None:
    await publish_letter(kafka_settings)
    await publish_record(kafka_settings, kafka_settings.dead_letter_topic, b"x", headers=[("\x1b[2J", b"")])

    shown = await dead_letters.run("show", "0:2")
    assert (shown.exit_code, shown.output) == (1, "")
    assert (
        f"{kafka_settings.dead_letter_topic} has no record at 0:2. What its partitions hold: 0: 0 to 1"
        in shown.errors
    )
    shown = await dead_letters.run("show", "0:1")
    assert (shown.exit_code, shown.output) == (1, "")
    assert r"0:1 was not written by streamapp; it has these headers: \x1b[2J." in shown.errors


async def test_a_dry_run_says_what_a_replay_does_and_sends_nothing(
    dead_letters: Command, kafka_settings: Settings
) -> None:
    for count in (b"0", b"3", b"4"):
        await publish_letter(kafka_settings, headers=[("streamapp.replays", count)])
    plan = [
        "3 dead letters chosen.",
        f"1 to be sent back to {kafka_settings.events_topic}.",
        "2 left out: sent back as often as --max-replays allows: 0:1, 0:2.",
    ]

    assert (await dead_letters("replay", "--dry-run")).splitlines() == plan
    lines = (await dead_letters("replay", "--yes")).splitlines()
    assert lines[:3] == plan
    assert lines[-1] == f"Sent 1 of 1 records back to {kafka_settings.events_topic}."
    assert (await dead_letters("replay", "--yes")).splitlines()[1:3] == [
        f"0 to be sent back to {kafka_settings.events_topic}.",
        "1 left out: sent back already (--again sends them once more).",
    ]
    assert len(await records_of(kafka_settings, kafka_settings.events_topic, 1)) == 1
    assert " 0 ✓ " in await dead_letters("list")


@pytest.mark.parametrize(
    ("answer", "code", "told"),
    [(b"y\n", 0, ""), (b"n\n", 1, "Nothing was sent.\n"), (b"", 130, "--yes sends without asking.\n")],
)
async def test_a_replay_asks_first(
    dead_letters: Command, kafka_settings: Settings, answer: bytes, code: int, told: str
) -> None:
    await publish_letter(kafka_settings)
    replay = await dead_letters.run("replay", answer=answer)

    assert replay.exit_code == code
    assert f"Send 1 records to {kafka_settings.events_topic}? [y/N]" in replay.output
    assert replay.errors.endswith(told)
    assert ("Sent 1 of 1" in replay.output) == (code == 0)


async def test_json_names_what_becomes_of_each(dead_letters: Command, kafka_settings: Settings) -> None:
    await publish_letter(kafka_settings)
    await publish_letter(kafka_settings, source=SourcePosition("elsewhere", 1, 2))
    of = {"reason": "not_json"}
    left_out = of | {
        "dead_letter": "0:1",
        "source": "1:2",
        "replays": 0,
        "left_out": "other_topic",
        "sent_to": None,
    }
    sent = of | {"dead_letter": "0:0", "source": "3:41210", "replays": 1, "left_out": None}

    planned = await dead_letters.run("replay", "--dry-run", "--json")
    assert planned.exit_code == 0
    assert [json.loads(line) for line in planned.output.splitlines()] == [sent | {"sent_to": None}, left_out]
    replay = await dead_letters.run("replay", "--yes", "--json")
    found = sorted(map(json.loads, replay.output.splitlines()), key=lambda line: line["dead_letter"])
    (record,) = await records_of(kafka_settings, kafka_settings.events_topic, 1)
    assert replay.exit_code == 0
    assert found == [sent | {"sent_to": f"{record.partition}:{record.offset}"}, left_out]


async def test_a_replay_that_a_signal_ends_says_what_it_sent_and_goes_on_later(
    tmp_path: Path, kafka_variables: dict[str, str], kafka_broker: KafkaBroker
) -> None:
    variables = kafka_variables | {"STREAMAPP_BROKERS": kafka_broker.bootstrap_servers}
    settings = load_settings(variables)
    await ensure_topics(settings)
    # About one of them fits into a fetch.
    for number in range(12):
        await publish_letter(settings, b"%02d" % number + b"x" * 900_000)
    dead_letters = Command("dead-letters", tmp_path, variables)
    async with dead_letters.started("replay", "--yes", "--json") as process:
        assert process.stdout is not None
        first = await process.stdout.readline()
        process.send_signal(signal.SIGINT)
        stopped = await ended(process)
    sent = 1 + stopped.output.count("\n")

    assert first.startswith(b'{"dead_letter": "0:0"')
    assert (stopped.exit_code, sent < 12) == (130, True), stopped.errors
    assert f"Sent {sent} of 12 records back" in stopped.errors
    assert "goes on with the rest" in stopped.errors
    rest = await dead_letters("replay", "--yes")
    assert f"{sent} left out: sent back already" in rest
    records = await records_of(settings, settings.events_topic, 12)
    assert sorted(record.value[:2] for record in records) == [b"%02d" % number for number in range(12)]


@pytest.mark.parametrize(
    "arguments",
    [
        ["list", "--offsets", "3"],
        ["list", "--offsets", "3:9-8"],
        ["list", "--reason", "unknown"],
        ["list", "--partition", "1", "--offsets", "1:0-5"],
        ["list", "--since", "1h", "--until", "2h"],
        ["list", "--last", "0"],
        ["show", "3"],
        ["show", "elsewhere[0]@1"],
        ["show", "0:1", "--hex", "--raw"],
        ["replay", "--json"],
        ["replay", "--max-replays", "0"],
    ],
    ids=" ".join,
)
def test_what_can_not_be_meant_is_refused(arguments: list[str]) -> None:
    assert CliRunner().invoke(command, arguments).exit_code == 2


@pytest.mark.parametrize("arguments", [[], ["list"], ["show"], ["replay"]])
def test_help_shows_examples(arguments: list[str]) -> None:
    result = CliRunner().invoke(command, [*arguments, "--help"], terminal_width=100)

    assert " ".join(["streamapp dead-letters", *arguments]) in result.output
    assert max(map(len, result.output.splitlines())) <= 100


HOSTILE = b"\x1b]0;owned\x07\r\n\xe2\x80\xae\xc2\x9b31m\xff"


def test_a_terminal_obeys_no_record(capsys: pytest.CaptureFixture[str]) -> None:
    text = HOSTILE.decode(errors="backslashreplace")
    hostile = letter(
        HOSTILE,
        key=HOSTILE,
        reason=text,
        message=text,
        headers=[(text, HOSTILE)],
        source=SourcePosition(text, 0, 0),
    )
    make_console().print(letter_table([(hostile, False), (letter(lacks=text), True)], "modify_user"))
    lines = [
        *capsys.readouterr().out.splitlines(),
        *letter_lines(hostile, is_sent_back=True),
        *value_lines(HOSTILE),
        *value_lines(HOSTILE[:-1]),
        *hex_lines(HOSTILE),
    ]

    assert [line for line in lines if not line.isprintable()] == []
    assert escaped(HOSTILE) == r"\x1b]0;owned\x07\r\n\u202e\x9b31m\xff"


def test_the_widest_dead_letters_fit_100_columns(capsys: pytest.CaptureFixture[str]) -> None:
    widest = letter(
        b"x" * 400,
        position=SourcePosition("dead", 100, 10**10),
        reason="no_event_properties",
        source=SourcePosition("a-topic-with-a-long-name-" * 3, 100, 10**10),
        replays=100,
    )
    make_console().print(letter_table([(widest, True), (letter(), False)], "modify_user"))
    output = capsys.readouterr().out

    assert max(map(len, output.splitlines())) <= 100
    for whole in ("100:10000000000", "2026-11-22 12:00:00", "no_event_properties", "100 ✓", "x" * 11):
        assert whole in output
