"""connect/snowflake/0-account.sql, which nothing here can run: what it says."""

import re
from itertools import pairwise

import sqlglot
from warehouse.snowflake_database import SQL, statements_of


def test_the_account_file_grants_what_the_connector_and_the_analysts_need_and_no_more() -> None:
    # sqlglot takes most of these statements as text only, so that parsing them shows little.
    grants = {one for one in statements_of("0-account.sql") if one.startswith("GRANT")}
    assert grants == {
        "GRANT ROLE STREAMAPP_LOADER TO USER STREAMAPP_CONNECT",
        "GRANT ROLE STREAMAPP_LOADER TO ROLE SYSADMIN",
        "GRANT ROLE STREAMAPP_ANALYST TO ROLE SYSADMIN",
        "GRANT USAGE ON DATABASE STREAMAPP TO ROLE STREAMAPP_LOADER",
        "GRANT USAGE ON SCHEMA STREAMAPP.MODERATION TO ROLE STREAMAPP_LOADER",
        "GRANT INSERT ON FUTURE TABLES IN SCHEMA STREAMAPP.MODERATION TO ROLE STREAMAPP_LOADER",
        "GRANT INSERT ON ALL TABLES IN SCHEMA STREAMAPP.MODERATION TO ROLE STREAMAPP_LOADER",
        "GRANT USAGE ON DATABASE STREAMAPP TO ROLE STREAMAPP_ANALYST",
        "GRANT USAGE ON SCHEMA STREAMAPP.MODERATION TO ROLE STREAMAPP_ANALYST",
        "GRANT USAGE ON WAREHOUSE STREAMAPP_ANALYSTS TO ROLE STREAMAPP_ANALYST",
        "GRANT SELECT ON FUTURE VIEWS IN SCHEMA STREAMAPP.MODERATION TO ROLE STREAMAPP_ANALYST",
        "GRANT SELECT ON ALL VIEWS IN SCHEMA STREAMAPP.MODERATION TO ROLE STREAMAPP_ANALYST",
    }


def test_the_account_file_can_be_run_again_and_has_no_key() -> None:
    statements = statements_of("0-account.sql")
    assert all(sqlglot.parse_one(statement, dialect="snowflake") for statement in statements)
    kinds = ("USE ROLE ", "GRANT ", "ALTER USER STREAMAPP_CONNECT SET RSA_PUBLIC_KEY = '<PUBLIC_KEY>'")
    for statement in statements:
        assert statement.startswith(kinds) or " IF NOT EXISTS " in statement or " IF EXISTS " in statement
    for kind in ("DATABASE", "SCHEMA", "WAREHOUSE", "ROLE", "USER"):
        assert any(statement.startswith(f"CREATE {kind} IF NOT EXISTS ") for statement in statements)


def test_each_statement_of_the_account_file_has_its_reason_above_it() -> None:
    lines = (SQL / "0-account.sql").read_text("utf-8").splitlines()
    for before, line in pairwise(lines):
        if re.match(r"(CREATE|ALTER|USE|GRANT) ", line):
            assert before.startswith(("-- ", "GRANT ", "USE ROLE SYSADMIN", "ALTER TABLE")), line
