"""Measure how long the analysts' views of the local warehouse take, and what a row costs; one JSON line.

    PYTHONPATH=tests python benchmarks/warehouse_views.py [rows] [folder with SQL files …]

It starts a PostgreSQL of its own. The rows are the engine's, of four models, some 3 kB each: a month's events
of 80,000 users, one in 50 with a second row. Each folder (default: connect/postgres) makes a database with
these rows, to compare versions of the views: they take turns, and a figure is the median of its turns.
"""

import json
import os
import random
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import psycopg
from machine import machine_facts
from warehouse.landed_rows import EVENTS_TOPIC, RESULTS_TOPIC, Row, edited, engine_rows, received
from warehouse.landing import INSERT, VIEWS_OVER_EVENTS
from warehouse.postgres_cluster import SQL, PostgresCluster

TURNS = 5
LANDED_ROWS = 2000
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
PARTITIONS = 12
USERS = 80_000
PERIOD = timedelta(days=30)
CATEGORIES = (
    "",
    "selfies",
    "animals",
    "selfies, life-style",
    "animals, food",
    "violence",
    "automobiles, travel",
)
SHA256 = "c15d8273adad2d0a92f014cc69ab2d6c311a06777a55545f2c4eb46f51911f0f"
COPY = "copy landing (__connect_topic, __connect_partition, __connect_offset, doc) from stdin"
# Of docs/analyst.md.
QUERIES = {view: f"select * from {view}" for view in VIEWS_OVER_EVENTS} | {
    "all_events": "select count(*) from moderation_events",
    "one_user": "select * from moderation_events where uid = '4711'",
    "why_models_could_not_look": "select reason, reason_sentence, count(*) from moderation_events"
    " where failed_closed_by is not null group by 1, 2",
    "share_by_policy": "select policy_version, avg(to_be_moderated::int) from moderation_events"
    " where failed_closed_by is null group by 1",
    "same_file": "select content_sha256, max(nn_unsafe_score) from moderation_events"
    " where to_be_moderated group by 1 having count(distinct uid) > 1",
}


def main(count: int, folders: list[Path]) -> None:
    with PostgresCluster() as cluster:
        warehouses = {os.path.relpath(folder): _Warehouse(cluster, folder, count) for folder in folders}
        for _ in range(TURNS):
            for warehouse in warehouses.values():
                warehouse.take_turn()
        result = {
            "benchmark": "warehouse",
            "unit": "s",
            "rows": count,
            "folders": {folder: warehouse.figures() for folder, warehouse in warehouses.items()},
            **machine_facts("psycopg"),
        }
    print(json.dumps(result))


class _Warehouse:
    """A database of one folder's SQL files, with the rows, and what was measured on it."""

    def __init__(self, cluster: PostgresCluster, folder: Path, count: int) -> None:
        self._url = cluster.url(cluster.new_warehouse(folder))
        with psycopg.connect(self._url, autocommit=True) as connection:
            with connection.cursor() as cursor, cursor.copy(COPY) as copy:
                for row in month(count):
                    copy.write_row(row)
            # As autovacuum would in a while.
            connection.execute("vacuum analyze landing")
            sizes = connection.execute(
                "select pg_relation_size('landing'), pg_total_relation_size('landing')"
            )
            self._pages_mb, self._total_mb = (round(size / 1e6) for size in sizes.fetchall()[0])
        self._seconds: dict[str, list[float]] = {query: [] for query in QUERIES}
        self._landing_cpu_us: list[float] = []

    def take_turn(self) -> None:
        """Ask each query once, then land some rows as the sink does, and take them away again."""
        with psycopg.connect(self._url, autocommit=True) as connection:
            for name, query in QUERIES.items():
                started_at = time.perf_counter()
                connection.execute(query.encode())
                self._seconds[name].append(time.perf_counter() - started_at)
        with psycopg.connect(self._url) as connection:
            rows = [("landed one by one", *row[1:]) for row in month(LANDED_ROWS)]
            cpu_before_s = _cpu_s(connection.info.backend_pid)
            connection.cursor().executemany(INSERT, rows)
            cpu_s = _cpu_s(connection.info.backend_pid) - cpu_before_s
            self._landing_cpu_us.append(cpu_s / LANDED_ROWS * 1e6)
            connection.rollback()

    def figures(self) -> dict[str, Any]:
        """Seconds per query, the slowest turn beside the median."""
        return {
            "queries": {name: round(median(turns), 3) for name, turns in self._seconds.items()},
            "slowest": {name: round(max(turns), 3) for name, turns in self._seconds.items()},
            "landing_cpu_us": round(median(self._landing_cpu_us)),
            "pages_mb": self._pages_mb,
            "total_mb": self._total_mb,
        }


def month(count: int) -> Iterator[tuple[str, int, int, bytes]]:
    """Records of the results topic, up to this midnight (UTC); the same ones every time on one day."""
    chance = random.Random(7)
    end = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    templates = [four_models(row) for row in engine_rows().values()]
    for number in range(count):
        event = max(0, number - chance.randrange(500)) if chance.random() < 0.02 else number
        moment = end - PERIOD * (1 - number / count)
        row = _varied(chance, templates[event % len(templates)], event, moment)
        yield RESULTS_TOPIC, number % PARTITIONS, number // PARTITIONS, json.dumps(row).encode()


def four_models(row: Row) -> Row:
    """NudeNet's row as it is where the other models are on, too."""
    attributes = row["MODEL_ATTRIBUTES"]
    provenance = attributes["PROVENANCE"]
    columns = {
        f"{prefix}_{name}": attributes[f"NN_{name}"]
        for prefix in ("MFD", "CLIP", "COOP")
        for name in ("STATUS", "DURATION", "PREDICTION_SUCCESS", "TO_BE_MODERATED")
        if (prefix, name) != ("COOP", "TO_BE_MODERATED")
    }
    models = {
        name: provenance["models"]["nudenet"] | {"name": name, "weights_sha256": SHA256}
        for name in ("mfd", "clip", "coop")
    }
    tags = [[{"label": label, "score": 0.1234} for label in ("selfies", "life-style", "indoor-games")]]
    return edited(
        row,
        attributes=columns,
        provenance={
            "models": provenance["models"] | models,
            "detections": provenance["detections"] | {"clip": tags, "coop": tags},
        },
    )


def _varied(chance: random.Random, row: Row, event: int, moment: datetime) -> Row:
    uid, content = str(chance.randrange(USERS)), row["MODEL_ATTRIBUTES"]["PROVENANCE"]["content"]
    provenance = {
        "source": {"topic": EVENTS_TOPIC, "partition": event % PARTITIONS, "offset": event // PARTITIONS},
        "content": content and content | {"sha256": f"{chance.getrandbits(256):064x}"},
    }
    return edited(
        row,
        attributes={"USER_ID": uid},
        provenance=provenance,
        **received(moment.replace(microsecond=chance.randrange(1, 10**6))),
        UID=uid,
        USERNAME=f"user_{chance.getrandbits(40):x}",
        IMAGE_URL=f"https://cdn.example.com/user/profile/{chance.getrandbits(128):032x}.jpg",
        COUNTRY=chance.choice(("co", "br", "mx", "ar", "us", "")),
        TOTAL_DURATION=round(chance.random(), 3),
        PREDICTED_PRIMARY_CATEGORY=chance.choice(CATEGORIES),
    )


def _cpu_s(pid: int) -> float:
    """CPU time of a process so far."""
    # After the name, in parentheses, the 12th and 13th fields: user and system time.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_S


if __name__ == "__main__":
    main(
        int(sys.argv[1]) if len(sys.argv) > 1 else 200_000, [Path(folder) for folder in sys.argv[2:]] or [SQL]
    )
