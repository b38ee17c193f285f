"""`streamapp warehouse` as a process of its own, on the tests' PostgreSQL and the embedded broker."""

import csv
import io
import json
from pathlib import Path

import pytest
from cli.command_process import Command, Ended
from rich.console import Console
from warehouse.postgres_cluster import PostgresCluster

from streamapp.cli.answers import print_table
from streamapp.settings import Settings
from streamapp.topics import ensure_topics

EVERY_KIND = (
    "select 1 as number, 0.25::float8 as share, 1.5::numeric as exact, null as nothing, true as flag,"
    " E'a\\x1b[31mb' as name, '{\"a\": [1, null]}'::jsonb as object, '\\xff00'::bytea as bytes,"
    " '2026-11-22 10:00:00.5-05'::timestamptz as moment, date '2026-11-22' as day"
)


@pytest.fixture
def warehouse_command(tmp_path: Path, warehouse_url: str) -> Command:
    return Command("warehouse", tmp_path, {"STREAMAPP_WAREHOUSE_URL": warehouse_url})


async def test_json_lines_have_the_values_as_they_are(warehouse_command: Command) -> None:
    (line,) = (await warehouse_command("query", EVERY_KIND, "--format", "jsonl")).splitlines()
    assert json.loads(line) == {
        "number": 1,
        "share": 0.25,
        "exact": 1.5,
        "nothing": None,
        "flag": True,
        "name": "a\x1b[31mb",
        "object": {"a": [1, None]},
        "bytes": "\\xff00",
        "moment": "2026-11-22T15:00:00.500000+00:00",
        "day": "2026-11-22",
    }


async def test_a_statement_may_begin_with_a_comment(warehouse_command: Command) -> None:
    sql = "-- the answer\nselect 42 as answer"
    assert await warehouse_command("query", sql, "--format", "csv") == "answer\n42\n"


async def test_csv_has_the_names_first_and_objects_as_json(warehouse_command: Command) -> None:
    output = await warehouse_command("query", EVERY_KIND, "--format", "csv")
    (row,) = csv.DictReader(io.StringIO(output))
    assert (row["nothing"], row["object"], row["bytes"], row["share"]) == (
        "",
        '{"a":[1,null]}',
        "\\xff00",
        "0.25",
    )


async def test_an_answer_without_rows_has_its_columns(warehouse_command: Command) -> None:
    sql = "select uid, reason from moderation_events"
    assert await warehouse_command("query", sql, "--format", "csv") == "uid,reason\n"
    assert (await warehouse_command("query", sql)).endswith("0 rows\n")


async def test_a_table_fits_100_columns_and_obeys_no_user(warehouse_command: Command) -> None:
    sql = "select E'\\x1b[31m' || repeat('wide ', 60) as a, 2 as b from generate_series(1, 60)"
    output = await warehouse_command("query", sql)
    assert max(map(len, output.splitlines())) <= 100
    assert "\x1b" not in output
    assert output.endswith("50 rows; there are more: --limit\n")
    assert (await warehouse_command("query", sql, "--limit", "60")).endswith("60 rows\n")


async def test_many_columns_stand_below_each_other(warehouse_command: Command) -> None:
    output = await warehouse_command("query", EVERY_KIND)
    assert "row 1\n" in output
    assert "  moment   2026-11-22 15:00:00\n" in output
    assert max(map(len, output.splitlines())) <= 100


@pytest.mark.parametrize(
    ("others", "is_list"), [("", False), (", now() as loaded_at, 6 as doc_bytes, 'a' as doc_start", True)]
)
async def test_a_table_whose_names_would_break_is_a_list(
    warehouse_command: Command, others: str, is_list: bool
) -> None:
    places = f"'{'results ' * 9}' as result_topic, 12 as result_partition, 345 as result_offset"
    output = await warehouse_command("query", f"select {places}, 'a' as problem{others}")

    assert ("row 1\n" in output) is is_list
    assert {"result_topic", "result_partition", "result_offset"} <= set(output.split())


def test_texts_that_take_two_cells_a_character_cut_no_others() -> None:
    row = ("1234567890123456", "用户名" * 5, "用户名" * 5, "用户名" * 5, "not_found", "403 abc def")
    columns = ["uid", "username", "second", "third", "reason", "status"]
    said = io.StringIO()
    print_table(columns, [row], Console(file=said, width=100))

    assert all(text in said.getvalue() for text in ("1234567890123456", "not_found", "403 abc def"))
    assert said.getvalue().count("用") == 15


async def test_a_limit_cancels_the_rest(warehouse_command: Command) -> None:
    endless = "with recursive every as (select 1 as n union all select n + 1 from every) select n from every"
    output = await warehouse_command("query", endless, "--format", "jsonl", "--limit", "2")
    assert output == '{"n":1}\n{"n":2}\n'


ESCAPE = "do $$ begin set default_transaction_read_only = off; commit; delete from landing; end $$"
REFUSED = {
    "delete from landing": "The warehouse is only read here: cannot execute DELETE in a read-only",
    ESCAPE: "invalid transaction termination",
    "copy (select 1) to program 'true'": "to COPY to or from an external program",
    "copy (select 1) to '/tmp/streamapp'": "to COPY to a file",
    "select lo_export(1, '/tmp/streamapp')": "permission denied for function lo_export",
    "select set_config('transaction_read_only', 'off', false)": "read-write mode must be set before",
    "select 1; commit; delete from landing": "cannot insert multiple commands into a prepared statement",
    "select * from nowhere": 'relation "nowhere" does not exist. The warehouse\'s own tables',
    "select * from moderation_event": "moderation_event",
    "selec 1": 'syntax error at or near "selec"',
}


@pytest.mark.parametrize("sql", REFUSED)
async def test_what_is_refused_is_one_line(warehouse_command: Command, sql: str) -> None:
    done = await warehouse_command.run("query", sql)
    assert (done.exit_code, done.output) == (1, "")
    assert REFUSED[sql] in done.errors
    assert done.errors.startswith("streamapp: ") and done.errors.count("\n") == 1


async def test_a_statement_that_takes_too_long_is_ended(warehouse_command: Command) -> None:
    done = await warehouse_command.run("query", "select pg_sleep(60)", "--timeout", "0.2")
    assert done.exit_code == 1
    assert "did not answer within 0.2 s" in done.errors


async def connected(folder: Path, url: str, **variables: str) -> Ended:
    return await Command("warehouse", folder, {"STREAMAPP_WAREHOUSE_URL": url}).run(
        "query", "select 1", **variables
    )


async def test_no_message_has_the_password(postgres_cluster: PostgresCluster, tmp_path: Path) -> None:
    right, wrong = postgres_cluster.url(), postgres_cluster.url().replace(postgres_cluster.password, "s3cret")
    broken = [wrong, wrong.replace("127.0.0.1", "nowhere.invalid"), "postgresql://u:s3cret@[", "s3cret"]
    for url in broken:
        done = await connected(tmp_path, url)
        assert done.exit_code == 1
        assert "STREAMAPP_WAREHOUSE_URL" in done.errors
        assert "s3cret" not in done.errors
        assert done.errors.count("\n") == 1
    without = right.replace(f":{postgres_cluster.password}@", "@")
    assert (await connected(tmp_path, without, PGPASSWORD=postgres_cluster.password)).exit_code == 0


async def test_a_warehouse_that_is_not_there_is_told_with_why_and_the_setting(tmp_path: Path) -> None:
    done = await connected(tmp_path, "postgresql://streamapp@127.0.0.1:1/warehouse")

    assert done.exit_code == 1
    assert "Connection refused. STREAMAPP_WAREHOUSE_URL says where it is" in done.errors


async def test_without_psycopg_the_extra_is_named(tmp_path: Path) -> None:
    (tmp_path / "psycopg.py").write_text("raise ImportError('no psycopg')")
    done = await connected(tmp_path, "postgresql://127.0.0.1/warehouse", PYTHONPATH=str(tmp_path))
    assert done.exit_code == 1
    assert "pip install 'streamapp[warehouse]'" in done.errors


async def test_a_warehouse_without_tables_is_told_before_the_topics_are_read(
    postgres_cluster: PostgresCluster, tmp_path: Path
) -> None:
    done = await Command("warehouse", tmp_path, {"STREAMAPP_WAREHOUSE_URL": postgres_cluster.url()}).run(
        "check"
    )
    assert done.exit_code == 1
    assert "connect/postgres/*.sql" in done.errors


async def test_topics_without_a_record_are_complete(
    warehouse_url: str, kafka_variables: dict[str, str], kafka_settings: Settings, tmp_path: Path
) -> None:
    await ensure_topics(kafka_settings)
    variables = kafka_variables | {"STREAMAPP_WAREHOUSE_URL": warehouse_url}
    done = await Command("warehouse", tmp_path, variables).run("check", "--wait", "0")
    assert (done.exit_code, done.errors) == (0, "")
    assert "✓ Everything that must be in the warehouse is there." in done.output
