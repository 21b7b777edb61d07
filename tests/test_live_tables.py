"""Revisions that change tables with rows: they block nobody, and can be run again."""

import re
from typing import Any

import psycopg
import pytest
from alembic import command

from tests.support import databases, history
from tests.support.factories import SMALLEST
from tests.support.history import HISTORY, Databases
from tests.support.inserting import insert

FIRST = HISTORY[0].revision
CREATE_INDEX = (
    r"CREATE (UNIQUE )?INDEX (?P<concurrently>CONCURRENTLY )?(?P<name>\w+) ON (?P<table>\w+)"
)
STORAGE = """
    SELECT c.relname, c.reloptions, i.indisvalid, pg_get_indexdef(i.indexrelid)
    FROM pg_class c LEFT JOIN pg_index i ON i.indexrelid = c.oid
    WHERE c.relnamespace = 'public'::regnamespace AND c.relname !~ 'alembic_version'
    ORDER BY c.relname
"""


def storage(url: str) -> list[tuple[Any, ...]]:
    """Return how tables and indexes are stored."""
    with psycopg.connect(url) as connection:
        return connection.execute(STORAGE).fetchall()


def sql_of(revisions: str) -> list[str]:
    """Return the statements of an upgrade, or of a downgrade, between two revisions."""
    direction = command.upgrade if revisions.startswith(FIRST) else command.downgrade
    statements = re.sub(r"(?m)^--.*", "", history.offline(direction, revisions)).split(";")
    return [" ".join(statement.split()) for statement in statements]


@pytest.mark.parametrize("revisions", [f"{FIRST}:head", f"head:{FIRST}"])
def test_indexes_are_built_and_dropped_concurrently(revisions: str) -> None:
    statements = sql_of(revisions)
    new_tables = {word for s in statements for word in re.findall("^CREATE TABLE (\\w+)", s)}
    seen = 0
    for previous, statement in zip(["", *statements], statements, strict=False):
        if created := re.match(CREATE_INDEX, statement):
            if created["table"] not in new_tables:
                assert created["concurrently"], statement
                assert previous == f"DROP INDEX CONCURRENTLY IF EXISTS {created['name']}"
                seen += 1
        elif statement.startswith("DROP INDEX"):
            assert statement.startswith("DROP INDEX CONCURRENTLY IF EXISTS "), statement
            seen += 1
    assert seen


def test_an_interrupted_upgrade_can_be_run_again(database_at: Databases, database: str) -> None:
    """CREATE INDEX CONCURRENTLY leaves an invalid index when it is interrupted."""
    url = database_at.at(FIRST)
    with psycopg.connect(url, autocommit=True) as connection:
        for table, row in SMALLEST.items():
            insert(connection, table, row)
        for name, table in concurrent_indexes():
            with pytest.raises(psycopg.errors.DivisionByZero):
                connection.execute(
                    f"CREATE INDEX CONCURRENTLY {name} ON {table} ((1 / (id - id)))"
                )
    databases.migrate(url)
    assert storage(url) == storage(database)


def concurrent_indexes() -> list[tuple[str, str]]:
    """Return names and tables of the indexes that later revisions add."""
    found = [re.match(CREATE_INDEX, statement) for statement in sql_of(f"{FIRST}:head")]
    return [(match["name"], match["table"]) for match in found if match and match["concurrently"]]
