"""`streamapp results` as a process of its own, on the embedded broker."""

import asyncio
import json
import signal
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from command_process import Command, ended
from kafka_records import publish, row_of

from streamapp.cli.results import command
from streamapp.cli.rows import picture_name, printable, row_table
from streamapp.local.display import make_console
from streamapp.records import ModelAttributes
from streamapp.settings import Settings
from streamapp.topics import ensure_topics


@pytest.fixture
async def results(tmp_path: Path, kafka_variables: dict[str, str], kafka_settings: Settings) -> Command:
    await ensure_topics(kafka_settings)
    return Command("results", tmp_path, kafka_variables)


ROWS = [
    row_of("passed", second=1),
    row_of("flagged", second=2, is_flagged=True),
    row_of("missing", second=3, status=403, is_flagged=True),
]


async def publish_rows(settings: Settings) -> None:
    await publish(settings, settings.results_topic, *(row.to_json() for row in ROWS))


async def test_rows_are_a_table_with_their_count(results: Command, kafka_settings: Settings) -> None:
    await publish_rows(kafka_settings)
    *table, last = (await results()).splitlines()
    cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in table if line.startswith("│")]

    assert cells == [
        ["passed.png", "passed", "pass", "0.3038", "0", "", "0.125"],
        ["flagged.png", "flagged", "moderate", "0.3038", "0", "", "0.125"],
        ["missing.png", "missing", "moderate", "", "403", "not_found", "0.125"],
    ]
    assert last == "3 rows, 2 to be moderated."


async def test_json_lines_are_the_bytes_on_the_topic(results: Command, kafka_settings: Settings) -> None:
    newer = msgspec.json.encode(msgspec.to_builtins(row_of("newer", second=9)) | {"A_KEY_OF_LATER": 1})
    values = [*(row.to_json() for row in ROWS), newer]
    await publish(kafka_settings, kafka_settings.results_topic, *values)

    assert await results("--all", "--json") == "".join(value.decode() + "\n" for value in values)


async def test_rows_are_chosen(
    results: Command,
    kafka_settings: Settings,
    kafka_variables: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # In this process, for there are so many; which keeps its own handlers.
    monkeypatch.setattr("streamapp.cli.results.configure_logs", lambda level: None)
    await publish_rows(kafka_settings)
    expected = {
        "--last 1": ["missing"],
        "--last 0": [],
        "--all": ["passed", "flagged", "missing"],
        "--moderate": ["flagged", "missing"],
        "--status 403": ["missing"],
        "--status 0 --moderate": ["flagged"],
        "--status 4": [],
        "--reason not_found": ["missing"],
        "--reason not_found --reason timeout --moderate": ["missing"],
        "--reason timeout": [],
        "--since 1h": ["passed", "flagged", "missing"],
        "--since 1h --last 1": ["missing"],
        "--since 1h --status 403": ["missing"],
    }
    found = {}
    for options in expected:
        arguments = ["--json", *options.split()]
        shown = await asyncio.to_thread(CliRunner().invoke, command, arguments, env=kafka_variables)
        found[options] = [json.loads(line)["UID"] for line in shown.output.splitlines()]

    assert found == expected


async def test_pictures_on_which_a_model_raised_are_found_among_many(
    results: Command, kafka_settings: Settings
) -> None:
    poison = row_of("poison", status=4, is_flagged=True)
    rows = [poison, *(row_of(f"user-{number}", second=number) for number in range(1, 31))]
    await publish(kafka_settings, kafka_settings.results_topic, *(row.to_json() for row in rows))

    shown, shown_of_30 = await results("--status", "4"), await results("--status", "4", "--last", "30")
    assert shown.splitlines()[-1] == "1 row, 1 to be moderated. Chosen from 31 rows."
    assert shown_of_30 == (
        "0 rows, 0 to be moderated. Chosen from 30 rows. A larger --last, or --all, looks at older ones.\n"
    )


@pytest.mark.parametrize(
    "arguments",
    [("--reason", "not_there"), ("--status", "44"), ("--since", "yesterday"), ("--since", "2999-01-01")],
    ids=" ".join,
)
def test_a_choice_that_can_not_be_meant_is_refused(arguments: tuple[str, ...]) -> None:
    assert CliRunner().invoke(command, arguments).exit_code == 2


async def test_without_rows_there_is_only_their_count(results: Command) -> None:
    assert await results() == "0 rows, 0 to be moderated.\n"


@pytest.mark.parametrize("arguments", [(), ("--json",)], ids=["lines", "json"])
async def test_following_shows_rows_that_come_later_until_a_signal(
    results: Command, kafka_settings: Settings, arguments: tuple[str, ...]
) -> None:
    await publish(kafka_settings, kafka_settings.results_topic, ROWS[0].to_json())
    async with results.started("--follow", "--moderate", "--last", "0", *arguments) as process:
        assert process.stdout is not None
        if not arguments:
            assert await process.stdout.readline() == b"0 rows, 0 to be moderated.\n"
        # Rows that follow may come before the reader stands at the end; then they are told again.
        line = b""
        while not line:
            await publish_rows(kafka_settings)
            line = await next_line(process.stdout)
        assert b"flagged" in line or b"missing" in line
        process.send_signal(signal.SIGINT)
        rest = await ended(process)
    assert (rest.exit_code, rest.errors.strip()) == (130, "")
    assert "passed" not in line.decode() + rest.output


async def next_line(stream: asyncio.StreamReader) -> bytes:
    """The next line; empty where none comes for a second."""
    try:
        return await asyncio.wait_for(stream.readline(), 1)
    except TimeoutError:
        return b""


async def test_a_reader_that_goes_away_is_not_the_brokers_fault(
    results: Command, kafka_settings: Settings
) -> None:
    await publish(kafka_settings, kafka_settings.results_topic, *[ROWS[0].to_json()] * 200)
    async with results.started("--all", "--json") as process:
        assert process.stdout is not None and process.stderr is not None
        await process.stdout.readline()
        process.stdout._transport.close()  # type: ignore[attr-defined]  # the pipe's other end, as `head` does
        errors = await process.stderr.read()
        await process.wait()
    assert b"does not answer" not in errors
    assert b"Traceback" not in errors


async def test_a_missing_topic_is_told_with_the_command_that_creates_it(
    tmp_path: Path, kafka_variables: dict[str, str]
) -> None:
    done = await Command("results", tmp_path, kafka_variables).run()

    assert (done.exit_code, done.output) == (1, "")
    assert "`streamapp topics` creates what is missing." in done.errors
    assert done.errors.count("\n") == 1


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://cdn.example.com/a/b.png?width=9", "b.png"),
        ("pictures/b.png", "b.png"),
        ("https://cdn.example.com/", "https://cdn.example.com/"),
        ("http://[", "http://["),
        ("data:image/png;base64,…", "data: image/png"),
        ("DATA:image/svg+xml,<svg/>", "data: image/svg+xml"),
        ("data:,…", "data:"),
    ],
)
def test_a_picture_is_known_by_the_end_of_its_url(url: str, name: str) -> None:
    assert picture_name(url) == name


def test_a_terminal_obeys_no_user() -> None:
    assert printable("a\x1b[31mb\x07\n") == "a\ufffd[31mb\ufffd\ufffd"
    assert printable("übung 🎉") == "übung 🎉"


def test_the_widest_rows_fit_100_columns(capsys: pytest.CaptureFixture[str]) -> None:
    attributes = ModelAttributes(
        USER_ID="7",
        NN_STATUS=403,
        MFD_STATUS=403,
        CLIP_STATUS=403,
        COOP_STATUS=403,
        PROVENANCE={"reason": "too_many_redirects"},
    )
    row = row_of(
        "u" * 40, MODEL_ATTRIBUTES=attributes, IMAGE_URL="https://x/" + "p" * 80, TOTAL_DURATION=20.0
    )
    make_console().print(row_table([row, *ROWS]))
    output = capsys.readouterr().out

    assert max(map(len, output.splitlines())) <= 100
    assert "too_many_redirects" in output
    assert "403 403" not in output
