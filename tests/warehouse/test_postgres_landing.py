"""connect/postgres/1-landing.sql on PostgreSQL: what lands whatever it is, once, and takes no view down."""

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from warehouse.landed_rows import EVENTS_TOPIC, Row, edited, engine_rows, source_at
from warehouse.landing import VIEWS_OVER_EVENTS, answer, land
from warehouse.postgres_cluster import run_scripts

from streamapp.warehouse.published import row_attributes

VIEWS = ("ds_content_moderation_tagging_1st_layer", "moderation_events", *VIEWS_OVER_EVENTS, "not_rows")
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


# The scripts


def everything(connection: psycopg.Connection) -> dict[str, list[Row]]:
    """View → its rows, in an order."""
    return {view: answer(connection, f"select * from {view} as every order by every::text") for view in VIEWS}


def test_the_scripts_run_again_and_keep_what_has_landed(
    warehouse: psycopg.Connection, warehouse_url: str
) -> None:
    land(warehouse, json.dumps(engine_rows()["coffee.jpg"]).encode(), b"no row")
    before = everything(warehouse)
    run_scripts(warehouse_url)
    assert everything(warehouse) == before


def test_a_table_without_the_columns_of_today_gets_them_with_what_has_landed_in_them(
    warehouse: psycopg.Connection, warehouse_url: str
) -> None:
    land(warehouse, *(json.dumps(row).encode() for row in engine_rows().values()), b"no row", None)
    before = everything(warehouse)
    generated = "attrelid = 'landing'::regclass and attgenerated = 's'"
    names = [
        row["attname"] for row in answer(warehouse, f"select attname from pg_attribute where {generated}")
    ]
    dropped = ", ".join(f"drop column {name} cascade" for name in names)
    warehouse.execute(f"alter table landing {dropped}".encode())
    warehouse.execute("create index landing_uid on landing using hash ((row_doc ->> 'UID'))")
    run_scripts(warehouse_url)

    assert everything(warehouse) == before
    assert len(before["moderation_events"]) == len(engine_rows())
    assert not answer(warehouse, "select from pg_indexes where indexname = 'landing_uid'")


def test_the_columns_are_generated_where_no_name_is_looked_for(warehouse: psycopg.Connection) -> None:
    # As pg_restore fills the table: without its trigger, and with an empty search path.
    land(warehouse, *(json.dumps(row).encode() for row in engine_rows().values()), b"no row")
    before = everything(warehouse)
    with warehouse.transaction():
        warehouse.execute("set local search_path = ''")
        warehouse.execute("update public.landing set row_doc = row_doc")

    assert everything(warehouse) == before
