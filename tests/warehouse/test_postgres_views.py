"""connect/postgres on PostgreSQL: what lands whatever it is, and what the views make of it."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import psycopg
import pytest
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
)
from warehouse.postgres_cluster import PostgresCluster, run_scripts
from warehouse.snowflake_database import comparable_rows

from streamapp.records import ResultRow
from streamapp.warehouse.published import row_attributes

VIEWS = (
    "ds_content_moderation_tagging_1st_layer",
    "moderation_events",
    "to_be_moderated_today",
    "events_by_country_and_category",
    "model_disagreement",
    "status_counts_per_hour",
    "duplicate_rows",
    "latency_percentiles",
    "not_rows",
)
INSERT = (
    "insert into landing (__connect_topic, __connect_partition, __connect_offset, doc)"
    " values (%s, %s, %s, %s)"
    " on conflict (__connect_topic, __connect_partition, __connect_offset) do update set doc = excluded.doc"
)
NO_ROWS: dict[str, tuple[bytes | None, str]] = {
    "tombstone": (None, "tombstone: no value"),
    "empty": (b"", "not JSON"),
    "text": (b"not json", "not JSON"),
    "null byte": (b'{"UID": "a\x00b"}', "not JSON"),
    "not UTF-8": (b'{"UID": "\xff\xfe"}', "not JSON"),
    "NaN": (b'{"TOTAL_DURATION": NaN}', "not JSON"),
    "number beyond all bounds": (b'{"UID": 1e999999999}', "not JSON"),
    "half a surrogate pair": (rb'{"UID": "\ud83d"}', "not JSON"),
    "nested too deeply": (b"[" * 200_000 + b"]" * 200_000, "not JSON"),
    "a megabyte of backslashes": (b'"' + b"\\" * 1_000_001 + b'u0000"', "JSON, and no object"),
    "list": (b"[]", "JSON, and no object"),
    "no UID": (b"{}", "no UID"),
    "null UID": (b'{"UID": null}', "no UID"),
    "no time": (b'{"UID": "1"}', "no MESSAGE_RECEIVE_TIME"),
    "no attributes": (b'{"UID": "1", "MESSAGE_RECEIVE_TIME": "x"}', "no MODEL_ATTRIBUTES object"),
    "attributes that are no object": (
        b'{"UID": "1", "MESSAGE_RECEIVE_TIME": "x", "MODEL_ATTRIBUTES": [1]}',
        "no MODEL_ATTRIBUTES object",
    ),
}


def land(connection: psycopg.Connection, *values: bytes | None, first: int = 0) -> None:
    """Insert them as the sink does, in partition 0."""
    for offset, value in enumerate(values, first):
        connection.execute(INSERT, (RESULTS_TOPIC, 0, offset, value))


def answer(connection: psycopg.Connection, sql: str) -> list[Row]:
    """Its rows by column; times in UTC."""
    cursor = connection.execute(sql.encode())
    names = [column.name for column in cursor.description or ()]
    return [
        {
            name: v.astimezone(UTC) if isinstance(v, datetime) else v
            for name, v in zip(names, row, strict=True)
        }
        for row in cursor
    ]


def same(found: list[Row], expected: list[Row]) -> bool:
    """Whether these are the rows, in any order, with these columns in this order."""
    assert expected, "the test's rows do not reach this view"
    assert [name.upper() for name in found[0]] == list(expected[0])
    return comparable_rows(found) == comparable_rows(expected)


# What the engine made, and what else there is, by the same expectation as Snowflake's views.


@pytest.fixture(scope="module")
def landed() -> list[Landed]:
    return list(landed_rows(datetime.now(UTC)))


@pytest.fixture(scope="module")
def events(landed: list[Landed]) -> list[Row]:
    return expected_views.moderation_events(landed)


@pytest.fixture(scope="module")
def full(postgres_cluster: PostgresCluster, landed: list[Landed]) -> Iterator[psycopg.Connection]:
    """A warehouse with all of those rows; nobody adds any."""
    url = postgres_cluster.url(postgres_cluster.new_warehouse())
    with psycopg.connect(url, autocommit=True) as connection:
        for one in landed:
            arguments = (RESULTS_TOPIC, one.partition, one.offset, json.dumps(one.row).encode())
            connection.execute(INSERT, arguments)
        yield connection


def test_moderation_events_has_each_source_event_once_and_its_latest_row(
    full: psycopg.Connection, events: list[Row]
) -> None:
    found = answer(full, "select * from moderation_events")
    assert same(found, events)
    sources = [(row["source_partition"], row["source_offset"]) for row in found if row["source_topic"]]
    assert len(sources) == len(set(sources))


def test_to_be_moderated_today_follows_the_utc_date(full: psycopg.Connection, events: list[Row]) -> None:
    def today() -> tuple[date, list[Row]]:
        day = answer(full, "select (now() at time zone 'UTC')::date as day")[0]["day"]
        return day, answer(full, "select * from to_be_moderated_today")

    (before, found), (after, again) = today(), today()
    day, rows = (before, found) if before == after else (after, again)
    assert same(rows, expected_views.to_be_moderated_today(events, day))
    times = [row["message_receive_time"] for row in rows]
    assert times == sorted(times, reverse=True)
    assert any(row["failed_closed_by"] for row in rows) and any(row["flagged_by"] for row in rows)


def test_the_other_views_answer_what_plain_python_counts(
    full: psycopg.Connection, landed: list[Landed], events: list[Row]
) -> None:
    expected = {
        "events_by_country_and_category": expected_views.events_by_country_and_category(events),
        "model_disagreement": expected_views.model_disagreement(events),
        "status_counts_per_hour": expected_views.status_counts_per_hour(events),
        "duplicate_rows": expected_views.duplicate_rows(landed),
        "latency_percentiles": expected_views.latency_percentiles(events),
    }
    wrong = [name for name, rows in expected.items() if not same(answer(full, f"select * from {name}"), rows)]
    assert not wrong


def test_the_table_has_the_rows_keys_and_where_its_record_stands(
    full: psycopg.Connection, landed: list[Landed]
) -> None:
    found = answer(full, "select * from ds_content_moderation_tagging_1st_layer")
    assert [name.upper() for name in found[0]] == [*ResultRow.__struct_fields__, "RECORD_METADATA"]
    first = next(row for row in found if row["record_metadata"]["offset"] == landed[0].offset)
    assert {name.upper(): value for name, value in first.items() if name != "record_metadata"} == landed[
        0
    ].row
    assert set(first["record_metadata"]) == {"topic", "partition", "offset", "loaded_at"}
    assert len(found) == sum(expected_views.is_row(one.row) for one in landed)


# What no one expects


def test_whatever_comes_lands_and_not_rows_says_what_it_is(warehouse: psycopg.Connection) -> None:
    land(warehouse, *(value for value, _ in NO_ROWS.values()))
    found = answer(warehouse, "select * from not_rows order by result_offset")

    assert {name: row["problem"] for name, row in zip(NO_ROWS, found, strict=True)} == {
        name: problem for name, (_, problem) in NO_ROWS.items()
    }
    (bytes_,) = [
        row["doc_start"] for row in found if row["doc_bytes"] == len(NO_ROWS["null byte"][0] or b"")
    ][:1]
    assert bytes_ == '{"UID": "a\\000b"}'
    stored = warehouse.execute("select doc from landing order by __connect_offset").fetchall()
    assert [value for (value,) in stored] == [value for value, _ in NO_ROWS.values()]
    assert answer(warehouse, "select * from moderation_events") == []


@pytest.mark.parametrize("name", NO_ROWS)
def test_the_check_and_the_warehouse_agree_on_what_is_no_row(name: str) -> None:
    assert row_attributes(NO_ROWS[name][0]) is None


def test_a_null_character_in_a_name_costs_no_row(warehouse: psycopg.Connection) -> None:
    row = edited(engine_rows()["coffee.jpg"], USERNAME="a\0b \\u0000 \\")
    land(warehouse, json.dumps(row).encode())
    assert answer(warehouse, "select username, to_be_moderated from moderation_events") == [
        {"username": "a\ufffdb \\u0000 \\", "to_be_moderated": True}
    ]


def test_what_users_make_long_does_not_stop_the_sink(warehouse: psycopg.Connection) -> None:
    # Texts that do not compress: the limits are those of what is stored.
    long = "".join(chr(0x4E00 + (index * 7919) % 20_000) for index in range(100_000))
    keys = dict.fromkeys(("UID", "USERNAME", "IMAGE_URL", "COUNTRY", "EVENT_TIME"), long)
    source = {"source": {"topic": long, "partition": 0, "offset": 0}}
    land(warehouse, json.dumps(edited(engine_rows()["coffee.jpg"], provenance=source, **keys)).encode())
    found = answer(warehouse, "select uid, source_topic, source_offset from moderation_events")
    assert found == [{"uid": long, "source_topic": None, "source_offset": None}]


ODD: tuple[Any, ...] = (
    *(
        "abc",
        "",
        None,
        True,
        [],
        {},
        [[1]],
        {"a": {"b": 1}},
        -1,
        1.5,
        10**30,
        1e300,
        "1e400",
        "NaN",
        "infinity",
    ),
    *(
        "now",
        "today",
        "2022-02-31 00:00:00",
        "2022-06-21T02:18:04Z",
        "99999-01-01 00:00:00",
        "0000-00-00 00:00:00",
    ),
    *("2022-06-21 02:18:04.776753+99:99", "\u0661\u0662", "a, b, , 0.5", "x" * 5000),
)


def odd_rows() -> Iterator[Row]:
    """The row with each key on its way down replaced by each odd value."""
    row = engine_rows()["coffee.jpg"]
    for value in ODD:
        for key in row:
            yield row | {key: value}
        attributes = row["MODEL_ATTRIBUTES"]
        yield row | {"MODEL_ATTRIBUTES": dict.fromkeys(attributes, value)}
        provenance = attributes["PROVENANCE"]
        for key, inner in provenance.items():
            yield edited(row, provenance={key: value})
            if isinstance(inner, dict):
                yield edited(row, provenance={key: dict.fromkeys(inner, value)})
        yield edited(row, provenance={"models": {"added": {"mode": value, "columns": {"X_STATUS": value}}}})


def test_no_odd_value_takes_a_view_down(warehouse: psycopg.Connection) -> None:
    rows = list(odd_rows())
    with warehouse.transaction():
        land(warehouse, *(json.dumps(row).encode() for row in rows))
    for view in VIEWS:
        # Each column is asked for: what nobody reads is not evaluated.
        warehouse.execute(f"select md5(every::text) from {view} as every".encode()).fetchall()
    (table,) = answer(warehouse, "select count(*) from ds_content_moderation_tagging_1st_layer")
    (no_rows,) = answer(warehouse, "select count(*) from not_rows")
    assert table["count"] + no_rows["count"] == len(rows)
    (now,) = answer(warehouse, "select count(*) from landing where received_at > now() - interval '1 day'")
    assert now["count"] == 0, "'now' or 'today' was taken for a time"


# Loading again


def test_a_record_that_is_loaded_again_stays_one(warehouse: psycopg.Connection) -> None:
    value = json.dumps(engine_rows()["coffee.jpg"]).encode()
    land(warehouse, value, b"no row")
    land(warehouse, value, b"no row")
    (counts,) = answer(warehouse, "select count(*), count(row_doc) as rows from landing")
    assert counts == {"count": 2, "rows": 1}


def test_the_order_of_loading_does_not_change_which_row_counts(warehouse: psycopg.Connection) -> None:
    row = engine_rows()["coffee.jpg"]
    late, early, same_time = (
        json.dumps(edited(row, provenance=source_at(5), MESSAGE_RECEIVE_TIME=time, USERNAME=name)).encode()
        for name, time in (
            ("late", "2026-11-20 10:00:01+00:00"),
            ("early", "2026-11-20 10:00:00.5+00:00"),
            ("same time", "2026-11-20 10:00:01.000000+00:00"),
        )
    )
    land(warehouse, same_time, first=3)
    land(warehouse, late, early, first=1)
    assert answer(warehouse, "select username, source_topic from moderation_events") == [
        {"username": "same time", "source_topic": EVENTS_TOPIC}
    ]


def test_the_scripts_run_again_and_keep_what_has_landed(
    warehouse: psycopg.Connection, warehouse_url: str
) -> None:
    land(warehouse, json.dumps(engine_rows()["coffee.jpg"]).encode())
    run_scripts(warehouse_url)
    assert len(answer(warehouse, "select * from moderation_events")) == 1


def test_a_users_events_and_the_newest_ones_are_found_by_index(warehouse: psycopg.Connection) -> None:
    row = json.dumps(engine_rows()["coffee.jpg"])
    with warehouse.transaction():
        warehouse.execute(
            "insert into landing (__connect_topic, __connect_partition, __connect_offset, doc)"
            " select 'results', 0, n, convert_to(jsonb_set(jsonb_set(%s::jsonb, '{UID}', to_jsonb(n::text)),"
            " '{MODEL_ATTRIBUTES,PROVENANCE,source,offset}', to_jsonb(n))::text, 'UTF8')"
            " from generate_series(1, 3000) as n",
            (row,),
        )
    warehouse.execute("analyze landing")

    def plan(condition: str) -> str:
        rows = warehouse.execute(f"explain select * from moderation_events where {condition}".encode())
        return "\n".join(line for (line,) in rows)

    assert "landing_uid" in plan("uid = '77'")
    assert "landing_received" in plan("message_receive_time > now()")
