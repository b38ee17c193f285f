"""The tests' own PostgreSQL, and databases in it with the landing table and the views."""

import os
from collections.abc import Iterator
from contextlib import ExitStack

import psycopg
import pytest
from warehouse.postgres_cluster import NoPostgresError, PostgresCluster


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[PostgresCluster]:
    """A cluster; skips where PostgreSQL is not installed. One that is there and does not start fails."""
    with ExitStack() as stack:
        try:
            cluster = stack.enter_context(PostgresCluster())
        except NoPostgresError as exc:
            pytest.skip(str(exc))
        except AssertionError as exc:
            if os.environ.get("CI"):
                raise
            pytest.skip(f"PostgreSQL is here and does not start: {exc}")
        yield cluster


@pytest.fixture
def warehouse_url(postgres_cluster: PostgresCluster) -> str:
    """A database of the test's own with the landing table and the views."""
    return postgres_cluster.url(postgres_cluster.new_warehouse())


@pytest.fixture
def warehouse(warehouse_url: str) -> Iterator[psycopg.Connection]:
    """An autocommitting connection to it."""
    with psycopg.connect(warehouse_url, autocommit=True) as connection:
        yield connection
