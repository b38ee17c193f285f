"""connect/postgres/2-views.sql on PostgreSQL, held against the same expectation as Snowflake's views."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime

import psycopg
import pytest
from warehouse import expected_views
from warehouse.landed_rows import RESULTS_TOPIC, Landed, Row, engine_rows, landed_rows
from warehouse.landing import INSERT, answer
from warehouse.postgres_cluster import PostgresCluster
from warehouse.snowflake_database import comparable_rows

from streamapp.records import ResultRow


def same(found: list[Row], expected: list[Row]) -> bool:
    """Whether these are the rows, in any order, with these columns in this order."""
    assert expected, "the test's rows do not reach this view"
    assert [name.upper() for name in found[0]] == list(expected[0])
    return comparable_rows(found) == comparable_rows(expected)


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
