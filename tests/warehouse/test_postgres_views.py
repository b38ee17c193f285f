"""connect/postgres/2-views.sql on PostgreSQL, held against the same expectation as Snowflake's views."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime

import psycopg
import pytest
from warehouse import expected_views
from warehouse.landed_rows import RESULTS_TOPIC, Landed, Row, engine_rows, landed_rows
from warehouse.landing import INSERT, VIEWS_OVER_EVENTS, answer
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


# What the planner makes of them

EVENTS = 1000


@pytest.fixture(scope="module")
def many(postgres_cluster: PostgresCluster) -> Iterator[psycopg.Connection]:
    """A warehouse with an event every three minutes, over 50 hours."""
    row = json.dumps(engine_rows()["coffee.jpg"])
    url = postgres_cluster.url(postgres_cluster.new_warehouse())
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "insert into landing (__connect_topic, __connect_partition, __connect_offset, doc)"
            " select 'results', 0, n, convert_to(jsonb_set(%s::jsonb || jsonb_build_object('UID', n::text,"
            " 'MESSAGE_RECEIVE_TIME', timestamp '2022-06-20' + n * interval '3 minutes'),"
            " '{MODEL_ATTRIBUTES,PROVENANCE,source,offset}', to_jsonb(n))::text, 'UTF8')"
            " from generate_series(1, %s) as n",
            (row, EVENTS),
        )
        connection.execute("analyze landing")
        yield connection


def plan_of(connection: psycopg.Connection, query: str) -> list[Row]:
    """The nodes of its plan, the outermost first."""
    ((found,),) = connection.execute(f"explain (verbose, format json) {query}".encode())
    nodes = [found[0]["Plan"]]
    for node in nodes:
        nodes += node.get("Plans", [])
    return nodes


@pytest.mark.parametrize(
    ("condition", "index"),
    [
        ("uid = '77'", "landing_user"),
        ("message_receive_time > now()", "landing_received"),
        ("source_topic = 'modify_user' and source_partition = 0 and source_offset = 7", "landing_source"),
    ],
)
def test_a_user_the_newest_and_a_position_are_found_by_index(
    many: psycopg.Connection, condition: str, index: str
) -> None:
    nodes = plan_of(many, f"select * from moderation_events where {condition}")
    assert index in {node.get("Index Name") for node in nodes}
    assert "Seq Scan" not in {node["Node Type"] for node in nodes}


def test_no_view_that_counts_or_chooses_takes_documents_apart(many: psycopg.Connection) -> None:
    def takes_documents_apart(view: str) -> bool:
        plan = json.dumps(plan_of(many, f"select * from {view}"))
        return "row_doc ->" in plan or "row_doc #>" in plan

    # The one view that shows a part of them.
    assert takes_documents_apart("moderation_events")
    assert not [view for view in VIEWS_OVER_EVENTS if takes_documents_apart(view)]


@pytest.mark.parametrize("view", ["status_counts_per_hour", "events_by_country_and_category"])
def test_the_planner_knows_how_few_hours_and_days_there_are(many: psycopg.Connection, view: str) -> None:
    # By landing_hours and landing_days, where the view spells them as those do. Otherwise it takes each event
    # for a group of its own, sorts, and compiles the query for longer than it runs.
    groups = [
        node["Plan Rows"]
        for node in plan_of(many, f"select * from {view}")
        if "received_at" in str(node.get("Group Key"))
    ]
    assert groups and min(groups) < EVENTS / 10
