"""docs/analyst.md: each of its queries is run on both warehouses, and answers what the page shows."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from old_rows import OLD_ROW
from warehouse.landed_rows import RESULTS_TOPIC, Landed, Row, edited, provenance_of
from warehouse.postgres_cluster import PostgresCluster
from warehouse.snowflake_database import SnowflakeDatabase

from streamapp.policy import DEFAULT_FILE, load_policy
from streamapp.reasons import Reason, Status
from streamapp.records import ModelAttributes, ResultRow, format_time

PAGE = (Path(__file__).parents[2] / "docs" / "analyst.md").read_text("utf-8")
# A query, and the table that it answers with.
EXAMPLES = re.findall(r"^```sql\n(.*?)^```\n\n((?:\|[^\n]*\n)+)", PAGE, re.MULTILINE | re.DOTALL)
QUERIES = [query for query, _ in EXAMPLES]
TABLES = dict(EXAMPLES)
# No `--`, which `streamapp warehouse query "$SQL"` would take for an option.
SNOWFLAKE_ONLY, LOCAL_ONLY = "/* Snowflake */\n", "/* local warehouse */\n"

# The page's rows are of this morning.
MORNING = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
PREFIXES = {"NN": "nudenet", "MFD": "mfd", "CLIP": "clip", "COOP": "coop"}
SELFIE, CAT, FIGHT, CAR = ("9a1f" + "0" * 60, "5be2" + "0" * 60, "77c0" + "0" * 60, "e4d3" + "0" * 60)


def rows_of(morning: datetime) -> Sequence[Landed]:
    """Nine events of one morning, two of them with two rows, and one of the old deployment."""
    at = [morning + timedelta(minutes=3 * number) for number in range(9)]
    rows = [
        picture(0, "100", "co", at[0], SELFIE, "selfies, life-style", {"NN": True}, unsafe="0.0312, 0.8731"),
        picture(1, "101", "co", at[1], CAT, "animals"),
        picture(2, "102", "br", at[2], FIGHT, "violence", {"CLIP": True}),
        no_picture(3, "103", "br", at[3], Reason.CIRCUIT_OPEN),
        picture(4, "104", "mx", at[4], CAR, "automobiles, selfies", {"MFD": True}),
        picture(5, "105", "co", at[5], CAR, "", {"CLIP": True}, raised=("CLIP", "COOP")),
        picture(6, "106", "co", at[6], SELFIE, "selfies", {"NN": True}, unsafe="0.8731"),
        no_picture(7, "107", None, at[7], Reason.BROKEN_FILE),
        no_picture(8, "108", "mx", at[8], Reason.NOT_FOUND),
        # A repeat after a crash, and a backfill after the host's outage.
        picture(1, "101", "co", at[1] + timedelta(seconds=20), CAT, "animals"),
        picture(3, "103", "br", at[3] + timedelta(hours=2), CAT, "animals", backfill="2026-11-20-outage"),
        OLD_ROW,
    ]
    return [Landed(row, offset=number) for number, row in enumerate(rows)]


def rows_of_today() -> Sequence[Landed]:
    """The same events from midnight on, and those of tomorrow: midnight may come before the view is asked."""
    midnight = datetime.combine(datetime.now(UTC).date(), time(0, 0), UTC)
    tomorrow = [
        Landed(edited(one.row, provenance=source_of_tomorrow(one.row)), one.offset, partition=1)
        for one in rows_of(midnight + timedelta(days=1))
        if provenance_of(one.row)
    ]
    return [*rows_of(midnight), *tomorrow]


def source_of_tomorrow(row: Row) -> Row:
    return {"source": provenance_of(row)["source"] | {"partition": 4}}


def picture(
    offset: int,
    uid: str,
    country: str | None,
    received_at: datetime,
    sha256: str,
    categories: str,
    flags: Mapping[str, bool] | None = None,
    *,
    unsafe: str = "0.0012",
    raised: Sequence[str] = (),
    backfill: str | None = None,
) -> Row:
    """The row of a picture that could be looked at.

    Args:
        flags: prefix → what it says; the others say no.
        raised: the models that failed on it.
    """
    columns: dict[str, Any] = {
        "NN_UNSAFE_SCORES": unsafe,
        "NN_SAFE_SCORES": ", ".join(f"{1 - float(score):.4f}" for score in unsafe.split(", ")),
        "PREDICTED_TOP3_PRIMARY_CATEGORY": categories,
    }
    for prefix in PREFIXES:
        status = Status.MODEL_RAISED if prefix in raised else Status.PREDICTED
        columns |= {f"{prefix}_STATUS": status.value, f"{prefix}_PREDICTION_SUCCESS": prefix not in raised}
        columns |= {f"{prefix}_DURATION": 0.02}
    columns |= {f"{prefix}_TO_BE_MODERATED": flag for prefix, flag in (flags or {}).items()}
    box = {"label": "FEMALE_BREAST_EXPOSED", "score": 0.8731, "box": [40.0, 60.0, 210.0, 300.0]}
    provenance = {
        "content": {
            "sha256": sha256,
            "media_type": "image/jpeg",
            "bytes": 81223,
            "width_px": 720,
            "height_px": 720,
        },
        "detections": {"nudenet": [[box] if flags and flags.get("NN") else []]},
        **({"backfill": backfill} if backfill else {}),
    }
    reason = Reason.MODEL_RAISED if raised else None
    return row_of(offset, uid, country, received_at, 0.25, columns, provenance, reason, categories)


def no_picture(offset: int, uid: str, country: str | None, received_at: datetime, reason: Reason) -> Row:
    """The row of one that could not: every model that moderates fails closed."""
    columns: dict[str, Any] = {f"{prefix}_STATUS": reason.status.value for prefix in PREFIXES}
    columns |= {f"{prefix}_TO_BE_MODERATED": True for prefix in ("NN", "MFD", "CLIP")}
    return row_of(offset, uid, country, received_at, 1.5, columns, {"content": None}, reason, "")


def row_of(
    offset: int,
    uid: str,
    country: str | None,
    received_at: datetime,
    total_s: float,
    columns: Mapping[str, Any],
    provenance: Mapping[str, Any],
    reason: Reason | None,
    categories: str,
) -> Row:
    policy = load_policy(DEFAULT_FILE)
    common = {
        "source": {"topic": "modify_user", "partition": 3, "offset": 41210 + offset},
        "models": {name: {"name": name, "mode": policy.modes[name]} for name in PREFIXES.values()},
        "policy": {"version": "2026-11-22", "sha256": policy.sha256},
        "reason": reason and reason.value,
        "reason_sentence": reason and reason.sentence,
        "attempts": 1,
        "streamapp": "0.1.0",
    }
    row = ResultRow(
        UID=uid,
        USERNAME=f"user_{uid}",
        IMAGE_URL=f"https://cdn.example.com/user/profile/{uid}/a.jpg",
        COUNTRY=country,
        EVENT_TIME=f"{received_at - timedelta(seconds=2):%Y-%m-%d %H:%M:%S}",
        MESSAGE_RECEIVE_TIME=format_time(received_at),
        TOTAL_DURATION=total_s,
        MODEL_ATTRIBUTES=ModelAttributes(**columns, USER_ID=uid, PROVENANCE=common | dict(provenance)),
        PREDICTED_PRIMARY_CATEGORY=categories,
        PREDICTED_SECONDARY_CATEGORY="",
        MODEL_VERSION="1.0.0",
        TO_BE_MODERATED=any(columns.get(f"{prefix}_TO_BE_MODERATED") for prefix in ("NN", "MFD", "CLIP")),
    )
    decoded: Row = json.loads(row.to_json())
    return decoded


def is_of_today(query: str) -> bool:
    return "to_be_moderated_today" in query


def rows_for(of_today: bool) -> Sequence[Landed]:
    return rows_of_today() if of_today else rows_of(MORNING)


@pytest.fixture(scope="module", params=[False, True], ids=["the page's morning", "today"])
def snowflake(request: pytest.FixtureRequest) -> Iterator[tuple[bool, SnowflakeDatabase]]:
    with SnowflakeDatabase(rows_for(request.param)) as database:
        yield request.param, database


@pytest.fixture(scope="module")
def postgres_urls(postgres_cluster: PostgresCluster) -> Mapping[bool, str]:
    """Whether it is for the view of today → a local warehouse with its rows."""
    urls = {}
    for of_today in (False, True):
        urls[of_today] = postgres_cluster.url(postgres_cluster.new_warehouse())
        with psycopg.connect(urls[of_today]) as connection:
            for one in rows_for(of_today):
                connection.execute(
                    "insert into landing (__connect_topic, __connect_partition, __connect_offset, doc)"
                    " values (%s, %s, %s, %s)",
                    (RESULTS_TOPIC, one.partition, one.offset, json.dumps(one.row).encode()),
                )
    return urls


def as_table(names: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """The answer as the page shows it: a Markdown table."""
    lines = [
        [name.lower() for name in names],
        ["---"] * len(names),
        *([cell(one) for one in row] for row in rows),
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float | Decimal) and value != int(value):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:.1f}"
    if isinstance(value, float | Decimal):
        return str(int(value))
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC) if value.tzinfo else value:%Y-%m-%d %H:%M:%S}"
    return str(value)


def test_the_page_has_examples_for_every_view_and_a_table_for_each() -> None:
    assert len(re.findall(r"^```sql$", PAGE, re.MULTILINE)) == len(EXAMPLES)
    for view in ("to_be_moderated_today", "moderation_events", "events_by_country_and_category"):
        assert any(f"FROM {view}" in query for query in QUERIES)
    for view in ("model_disagreement", "status_counts_per_hour", "duplicate_rows", "latency_percentiles"):
        assert any(f"FROM {view}" in query for query in QUERIES)


def test_snowflake_answers_what_the_page_shows(snowflake: tuple[bool, SnowflakeDatabase]) -> None:
    of_today, database = snowflake
    queries = [one for one in QUERIES if is_of_today(one) is of_today and not one.startswith(LOCAL_ONLY)]
    assert queries
    for query in queries:
        found = database.query(query.removeprefix(SNOWFLAKE_ONLY).strip().removesuffix(";"))
        assert as_table(list(found[0]), [list(row.values()) for row in found]) == TABLES[query], query


@pytest.mark.parametrize("query", [one for one in QUERIES if not one.startswith(SNOWFLAKE_ONLY)])
def test_the_local_warehouse_answers_what_the_page_shows(
    query: str, postgres_urls: Mapping[bool, str]
) -> None:
    with psycopg.connect(postgres_urls[is_of_today(query)]) as connection:
        connection.execute("set timezone to 'UTC'")
        cursor = connection.execute(query.encode())
        names = [column.name for column in cursor.description or ()]
        assert as_table(names, cursor.fetchall()) == TABLES[query]


def test_each_query_can_be_an_argument_of_streamapp_warehouse_query() -> None:
    assert not [query for query in QUERIES if query.startswith("-")]


def test_the_page_has_every_status() -> None:
    section = PAGE.partition("### STATUS")[2].partition("\n### ")[0].replace("\N{MINUS SIGN}", "-")
    codes = re.findall(r"^\| (-?\d+) \|", section, re.MULTILINE)
    assert sorted(map(int, codes)) == sorted(status.value for status in Status)


def test_the_thresholds_on_the_page_are_the_policys() -> None:
    policy = load_policy(DEFAULT_FILE)
    (on_page,) = re.findall(r"from (0\.\d+) on \(the default policy\)", PAGE)
    assert set(policy.nudenet.unsafe_thresholds.values()) == {float(on_page)}
    for category in policy.taxonomy.moderated_primaries:
        assert category in PAGE
