"""Revisions that change tables with rows: they block nobody, and can be run again."""

import io
import re
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from alembic import command
from alembic.script import ScriptDirectory

from models import Base
from tests.support import databases
from tests.support.factories import SMALLEST

FIRST, *LATER = reversed(
    [script.revision for script in ScriptDirectory(databases.ROOT / "alembic").walk_revisions()]
)
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
    config = databases.alembic_config()
    config.output_buffer = io.StringIO()
    first, _, last = revisions.partition(":")
    run = command.upgrade if last == "head" or first == FIRST else command.downgrade
    run(config, revisions, sql=True)
    statements = re.sub(r"(?m)^--.*", "", config.output_buffer.getvalue()).split(";")
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


def test_models_and_migrations_store_alike(
    make_database: Callable[[], str], database: str
) -> None:
    by_models = make_database()
    engine = databases.sync_engine(by_models)
    Base.metadata.create_all(engine)
    assert storage(by_models) == storage(database)


def test_downgrades_store_as_before(empty_database: str) -> None:
    databases.migrate(empty_database, FIRST)
    states = [storage(empty_database)]
    for revision in LATER:
        databases.migrate(empty_database, revision)
        states.append(storage(empty_database))
    while len(states) > 1:
        assert storage(empty_database) == states.pop()
        databases.migrate(empty_database, "-1")
    assert storage(empty_database) == states.pop()


def test_an_interrupted_upgrade_can_be_run_again(empty_database: str, database: str) -> None:
    """CREATE INDEX CONCURRENTLY leaves an invalid index when it is interrupted."""
    databases.migrate(empty_database, FIRST)
    with psycopg.connect(empty_database, autocommit=True) as connection:
        for table, row in SMALLEST.items():
            names, values = ", ".join(row), ", ".join(f"%({name})s" for name in row)
            connection.execute(f"INSERT INTO {table} ({names}) VALUES ({values})", row)
        for name, table in concurrent_indexes():
            with pytest.raises(psycopg.errors.DivisionByZero):
                connection.execute(
                    f"CREATE INDEX CONCURRENTLY {name} ON {table} ((1 / (id - id)))"
                )
    databases.migrate(empty_database)
    assert storage(empty_database) == storage(database)


def test_an_interrupted_downgrade_can_be_run_again(empty_database: str) -> None:
    databases.migrate(empty_database, FIRST)
    before = storage(empty_database)
    databases.migrate(empty_database)
    with psycopg.connect(empty_database) as connection:
        for name, _ in concurrent_indexes():
            connection.execute(f"DROP INDEX {name}")
    for _ in LATER:
        databases.migrate(empty_database, "-1")
    assert storage(empty_database) == before


def concurrent_indexes() -> list[tuple[str, str]]:
    """Return names and tables of the indexes that later revisions add."""
    found = [re.match(CREATE_INDEX, statement) for statement in sql_of(f"{FIRST}:head")]
    return [(match["name"], match["table"]) for match in found if match and match["concurrently"]]
