"""connect/snowflake: its portable files on fakesnow, with rows that the real engine made."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any

import psycopg
import pytest
import sqlglot
from sqlglot import exp
from warehouse import expected_views
from warehouse.landed_rows import (
    EVENTS_TOPIC,
    RESULTS_TOPIC,
    Landed,
    Row,
    edited,
    engine_rows,
    landed_rows,
    source_at,
    unplaced_rows,
)
from warehouse.postgres_cluster import SQL as POSTGRES_SQL
from warehouse.snowflake_database import (
    PORTABLE,
    SQL,
    TABLE,
    SnowflakeDatabase,
    comparable_rows,
    on_one_date,
    statements_of,
)

from streamapp.records import ModelAttributes, ResultRow

VIEWS = (
    "MODERATION_EVENTS",
    "TO_BE_MODERATED_TODAY",
    "EVENTS_BY_COUNTRY_AND_CATEGORY",
    "MODEL_DISAGREEMENT",
    "STATUS_COUNTS_PER_HOUR",
    "DUPLICATE_ROWS",
    "LATENCY_PERCENTILES",
)
GAPS, TWICE, PROBLEMS, MISSING_KEYS, POSITIONS_USED_AGAIN = (
    statement for statement in statements_of("3-errors.sql") if statement.startswith("SELECT")
)


@pytest.fixture(scope="module")
def landed() -> list[Landed]:
    return [*landed_rows(datetime.now(UTC)), *unplaced_rows()]


@pytest.fixture(scope="module")
def database(landed: list[Landed]) -> Iterator[SnowflakeDatabase]:
    with SnowflakeDatabase(landed) as database:
        yield database


@pytest.fixture(scope="module")
def events(landed: list[Landed]) -> list[Row]:
    return expected_views.moderation_events(landed)


def assert_answers(database: SnowflakeDatabase, view: str, expected: list[Row]) -> None:
    """The view has these columns in this order, and these rows in any."""
    found = database.query(f"SELECT * FROM {view}")
    assert expected, "the test's rows do not reach this view"
    assert list(database.columns(view)) == list(expected[0])
    assert comparable_rows(found) == comparable_rows(expected)


# The files


def test_every_portable_statement_runs_and_runs_again() -> None:
    with SnowflakeDatabase() as database:
        for file in PORTABLE:
            for statement in statements_of(file):
                database.query(statement)
        assert [row["name"] for row in database.query("SHOW TABLES")] == [TABLE]
        assert {row["name"] for row in database.query("SHOW VIEWS")} == set(VIEWS)


def test_the_table_has_the_rows_keys_and_record_metadata() -> None:
    with SnowflakeDatabase() as database:
        columns = database.columns(TABLE)
        assert [*ResultRow.__struct_fields__, "RECORD_METADATA"] == list(columns)
        assert {row["null?"] for row in database.query(f"DESCRIBE TABLE {TABLE}")} == {"Y"}
    kinds = {name: kind.partition("(")[0] for name, kind in columns.items()}
    assert kinds == dict.fromkeys(columns, "VARCHAR") | {
        "TOTAL_DURATION": "FLOAT",
        "MODEL_ATTRIBUTES": "VARIANT",
        "TO_BE_MODERATED": "BOOLEAN",
        "RECORD_METADATA": "VARIANT",
    }


def test_every_column_of_the_table_says_what_it_is() -> None:
    (create,) = (one for one in statements_of("1-table.sql") if one.startswith("CREATE TABLE"))
    columns = list(sqlglot.parse_one(create, dialect="snowflake").find_all(exp.ColumnDef))
    assert len(columns) == 13
    assert all(column.find(exp.CommentColumnConstraint) for column in columns)
    assert re.search(r"^    ERROR_LOGGING = TRUE$", create, re.MULTILINE)


@pytest.mark.parametrize("file", PORTABLE)
def test_no_subquery_flattens_a_column_of_the_row_around_it(file: str) -> None:
    """Snowflake refuses that, and fakesnow runs it."""
    for statement in statements_of(file):
        for flatten in sqlglot.parse_one(statement, dialect="snowflake").find_all(exp.Explode):
            select = flatten.find_ancestor(exp.Select)
            assert select is not None
            inside = {source.alias_or_name.upper() for source in select.find_all(exp.Table, exp.Lateral)}
            assert isinstance(select.parent, exp.Subquery | exp.CTE | exp.Union | exp.Create), statement[:80]
            assert {column.table.upper() for column in flatten.find_all(exp.Column)} <= inside | {""}


def test_the_query_of_the_error_table_parses() -> None:
    text = (SQL / "3-errors.sql").read_text("utf-8")
    (query,) = re.findall(r"^--     (SELECT\n(?:--     .*\n)+)", text, re.MULTILINE)
    select = sqlglot.parse_one(query.replace("\n--     ", "\n"), dialect="snowflake")
    assert select.named_selects == ["TIMESTAMP", "ERROR_CODE", "MESSAGE", "COLUMN_NAME", "CHANNEL", "VALUE"]
    assert TABLE in query
    assert f"{RESULTS_TOPIC}.snowflake-errors" in text


# The views


def test_moderation_events_has_each_source_event_once_and_its_latest_row(
    database: SnowflakeDatabase, events: list[Row]
) -> None:
    assert_answers(database, "MODERATION_EVENTS", events)


def test_moderation_events_times_are_utc_without_a_zone(database: SnowflakeDatabase) -> None:
    columns = database.columns("MODERATION_EVENTS")
    assert {columns["EVENT_TIME"], columns["MESSAGE_RECEIVE_TIME"]} == {"TIMESTAMP_NTZ(9)"}


def test_to_be_moderated_today_follows_the_utc_date(database: SnowflakeDatabase, events: list[Row]) -> None:
    today, found = on_one_date(lambda: database.query("SELECT * FROM TO_BE_MODERATED_TODAY"))
    assert found
    assert tuple(database.columns("TO_BE_MODERATED_TODAY")) == expected_views.TODAY_COLUMNS
    assert comparable_rows(found) == comparable_rows(expected_views.to_be_moderated_today(events, today))
    times = [row["MESSAGE_RECEIVE_TIME"] for row in found]
    assert times == sorted(times, reverse=True)


def test_a_picture_of_two_categories_counts_in_both(database: SnowflakeDatabase, events: list[Row]) -> None:
    expected = expected_views.events_by_country_and_category(events)
    assert_answers(database, "EVENTS_BY_COUNTRY_AND_CATEGORY", expected)
    assert sum(row["EVENTS"] for row in expected) > len(events)


def test_models_disagree_only_where_both_have_a_verdict(
    database: SnowflakeDatabase, events: list[Row]
) -> None:
    expected = expected_views.model_disagreement(events)
    assert {row["FLAGGED_BY_ONLY"] for row in expected} == {"NN", "CLIP"}
    assert_answers(database, "MODEL_DISAGREEMENT", expected)


def test_status_counts_have_every_model_added_ones_too(
    database: SnowflakeDatabase, events: list[Row]
) -> None:
    expected = expected_views.status_counts_per_hour(events)
    assert {row["MODEL"] for row in expected} == {"NN", "MFD", "CLIP", "COOP", "DARK", "BLUR"}
    assert_answers(database, "STATUS_COUNTS_PER_HOUR", expected)


def test_duplicate_rows_tells_repeats_from_backfills(
    database: SnowflakeDatabase, landed: list[Landed]
) -> None:
    expected = expected_views.duplicate_rows(landed)
    assert {row["BACKFILL_ROWS"] for row in expected} == {0, 1}
    assert {row["HAS_SAME_VERDICT"] for row in expected} == {False, True}
    assert_answers(database, "DUPLICATE_ROWS", expected)


def test_latency_percentiles_leave_backfilled_rows_out(
    database: SnowflakeDatabase, events: list[Row]
) -> None:
    assert_answers(database, "LATENCY_PERCENTILES", expected_views.latency_percentiles(events))


# What was refused


def test_gaps_in_the_offsets_are_found(database: SnowflakeDatabase) -> None:
    gap = {
        "TOPIC": RESULTS_TOPIC,
        "PARTITION_NUMBER": 1,
        "FIRST_MISSING_OFFSET": 11,
        "LAST_MISSING_OFFSET": 13,
    }
    assert database.query(GAPS) == [gap | {"MISSING_RECORDS": 3}]


def test_a_record_that_landed_twice_is_found(landed: list[Landed]) -> None:
    with SnowflakeDatabase([landed[0], landed[1], landed[1]]) as database:
        (found,) = database.query(TWICE)
        assert found == {"TOPIC": RESULTS_TOPIC, "PARTITION_NUMBER": 0, "OFFSET_NUMBER": 1001, "ROW_COUNT": 2}
        assert len(database.query("SELECT * FROM MODERATION_EVENTS")) == 2


def test_rows_that_are_none_or_cannot_be_read_are_found(
    database: SnowflakeDatabase, landed: list[Landed]
) -> None:
    found = [row["PROBLEM"] for row in database.query(PROBLEMS)]
    assert sorted(found) == [
        "MESSAGE_RECEIVE_TIME is no time",
        "no MODEL_ATTRIBUTES object",
        "no MODEL_ATTRIBUTES object",
        "no TO_BE_MODERATED",
        "no UID",
        "no UID",
        "no source position",
    ]
    no_rows = sum(not expected_views.is_row(one.row) for one in landed)
    assert sum(problem in ("no UID", "no MODEL_ATTRIBUTES object") for problem in found) == no_rows


def test_keys_that_model_attributes_lacks_are_found(database: SnowflakeDatabase) -> None:
    wanted = set(ModelAttributes.__struct_fields__) - {"PROVENANCE"}
    found = database.query(MISSING_KEYS)
    # One row's MODEL_ATTRIBUTES is empty.
    assert {row["MISSING_KEY"]: row["ROW_COUNT"] for row in found} == dict.fromkeys(wanted, 1)


def test_positions_of_an_events_topic_that_was_created_again_are_found() -> None:
    row = engine_rows()["coffee.jpg"]
    rows = [
        edited(row, UID=uid, provenance=source_at(offset))
        for uid, offset in (("1", 5), ("2", 5), ("1", 6), ("1", 6))
    ]
    with SnowflakeDatabase(Landed(row, offset) for offset, row in enumerate(rows)) as database:
        (found,) = database.query(POSITIONS_USED_AGAIN)
        assert (found["TOPIC"], found["OFFSET_NUMBER"], found["USERS"]) == (EVENTS_TOPIC, 5, 2)
        assert len(database.query("SELECT * FROM MODERATION_EVENTS")) == 2


# Beside PostgreSQL


@pytest.mark.parametrize("view", [TABLE, *VIEWS])
def test_a_view_has_the_columns_that_it_has_in_postgresql(view: str, database: SnowflakeDatabase) -> None:
    assert [name.lower() for name in database.columns(view)] == _postgres_columns()[view.lower()]


def _postgres_columns() -> dict[str, list[str]]:
    """View → its columns, as connect/postgres/2-views.sql names them."""
    text = (POSTGRES_SQL / "2-views.sql").read_text("utf-8")
    return {
        create.this.name: create.expression.named_selects
        for create in sqlglot.parse(text, dialect="postgres")
        if isinstance(create, exp.Create) and create.kind == "VIEW"
    }


def test_the_views_answer_what_postgresqls_answer(
    landed: list[Landed], warehouse: psycopg.Connection
) -> None:
    # PostgreSQL's landing table has records of Kafka only.
    placed = [one for one in landed if one.offset is not None]
    for one in placed:
        _land_in_postgres(warehouse, one)
    with SnowflakeDatabase(placed) as snowflake:

        def answers(view: str) -> tuple[list[Row], list[Row]]:
            return snowflake.query(f"SELECT * FROM {view}"), _of_postgres(warehouse, view)

        for view in VIEWS:
            _, (found, expected) = on_one_date(partial(answers, view))
            assert comparable_rows(found) == comparable_rows(expected), view


def _land_in_postgres(warehouse: psycopg.Connection, one: Landed) -> None:
    warehouse.execute(
        "insert into landing (__connect_topic, __connect_partition, __connect_offset, doc)"
        " values (%s, %s, %s, %s)",
        (RESULTS_TOPIC, one.partition, one.offset, json.dumps(one.row).encode()),
    )


def _of_postgres(warehouse: psycopg.Connection, view: str) -> list[Row]:
    cursor = warehouse.execute(f"select * from {view}")  # type: ignore[arg-type]  # no literal
    names = [column.name.upper() for column in cursor.description or ()]
    return [
        {name: _as_utc(value) for name, value in zip(names, row, strict=True)} for row in cursor.fetchall()
    ]


def _as_utc(value: Any) -> Any:
    return value.astimezone(UTC) if isinstance(value, datetime) else value
