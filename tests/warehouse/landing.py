"""The landing table as the sink fills it, and what the warehouse answers, for tests on PostgreSQL."""

from datetime import UTC, datetime

import psycopg
from warehouse.landed_rows import RESULTS_TOPIC, Row

INSERT = (
    "insert into landing (__connect_topic, __connect_partition, __connect_offset, doc)"
    " values (%s, %s, %s, %s)"
    " on conflict (__connect_topic, __connect_partition, __connect_offset) do update set doc = excluded.doc"
)

# Over MODERATION_EVENTS: what an analyst opens first.
VIEWS_OVER_EVENTS = (
    "to_be_moderated_today",
    "events_by_country_and_category",
    "model_disagreement",
    "status_counts_per_hour",
    "duplicate_rows",
    "latency_percentiles",
)


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
