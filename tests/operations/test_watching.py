"""A migration that cannot be watched is ended; its watcher works beside other functions."""

import pkgutil
import re
from importlib import import_module

import pytest
from sqlalchemy import TextClause, text

import trading_bot_schema
from tests.operations.landed import HEAD
from tests.support.alembic_cli import AlembicCli
from tests.support.probe_revisions import Revisions
from trading_bot_schema.migrator import hold
from trading_bot_schema.migrator.blockers import describe_blockers
from trading_bot_schema.url import parse, rendered
from verification import databases

STATEMENTS = {
    f"{info.name}.{name}": str(value)
    for info in pkgutil.walk_packages(trading_bot_schema.__path__, "trading_bot_schema.")
    if not info.name.endswith("__main__")
    for name, value in vars(import_module(info.name)).items()
    if isinstance(value, TextClause)
}


@pytest.mark.parametrize("name", STATEMENTS)
def test_arguments_of_functions_have_a_type(name: str) -> None:
    """Else PostgreSQL guesses: a driver sends small numbers as smallint."""
    bare = re.findall(r"\b(?!IN\b|ANY\b|VALUES\b)\w+ ?\((?:[^()]*, *)?:\w+[,)]", STATEMENTS[name])
    assert bare == [], "write CAST(:name AS type)"


def test_beside_functions_for_other_types(empty_database: str) -> None:
    """As of Citus, whose pg_cancel_backend(bigint) makes a small pid ambiguous."""
    databases.execute(
        empty_database,
        *(
            f"CREATE FUNCTION pg_catalog.{name}(bigint) RETURNS {result} LANGUAGE sql"
            f" RETURN NULL::{result}"
            for name, result in (("pg_cancel_backend", "boolean"), ("pg_blocking_pids", "int[]"))
        ),
    )
    with databases.sync_engine(empty_database).connect() as connection:
        with pytest.raises(Exception, match="is not unique"):
            connection.execute(text("SELECT pg_cancel_backend(:pid)"), {"pid": 1})
        connection.rollback()
        assert connection.scalar(hold._CANCEL, {"pid": 1}) is False
        assert describe_blockers(connection, 1) == ""


BREAK = (
    "CREATE FUNCTION pg_blocking_pids(integer) RETURNS integer[] LANGUAGE plpgsql AS"
    " $$ BEGIN RAISE 'no such luck'; END $$"
)


@pytest.mark.parametrize("hold_timeout", ["10s", "0"])
def test_a_watcher_that_fails(
    alembic_cli: AlembicCli, database: str, revisions: Revisions, hold_timeout: str
) -> None:
    databases.execute(database, BREAK)
    # Found before PostgreSQL's own function.
    path = {"options": "-csearch_path=public,pg_catalog"}
    url = rendered(parse(database).update_query_dict(path))
    revisions.add(
        "probe",
        # Until it is refused, or the watcher has logged that it has failed.
        "import logging, time\n"
        "failed = []\n"
        'logging.getLogger("alembic.migrator").addFilter('
        'lambda record: failed.append(1) or True if "not watched" in record.msg else True)\n'
        "while not failed:\n"
        '    op.execute("SELECT pg_sleep(0.01)")\n'
        'op.execute("SELECT 1")\n',
    )
    arguments = ("-c", revisions.ini, "-x", f"hold_timeout={hold_timeout}", "upgrade", "head")
    result = alembic_cli.run(*arguments, database=url)
    assert "The migration is not watched" in result.messages[0]
    assert "no such luck" in result.messages[0]
    if hold_timeout == "0":
        assert result.status == 0
        return
    assert result.status != 0
    assert "no such luck" in result.messages[1]
    assert "Nothing is changed. So the migration cannot be watched" in result.messages[1]
    assert databases.version(database) == HEAD
