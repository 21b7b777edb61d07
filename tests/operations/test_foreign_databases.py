"""A database whose tables and recorded revision do not belong together is refused, with advice."""

from collections.abc import Callable

import pytest

from models import Base
from tests.operations.landed import HEAD, HISTORY
from tests.support.alembic_cli import AlembicCli, Result
from verification import databases

VERSION = "CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)"
ACCEPT = ("-x", "ahead=accept", "upgrade", "head")


@pytest.mark.parametrize("table", sorted(Base.metadata.tables))
def test_a_newer_version_is_accepted_only_with_all_tables(
    alembic_cli: AlembicCli, database: str, table: str
) -> None:
    databases.execute(
        database,
        "UPDATE alembic_version SET version_num = 'theirs'",
        f"DROP TABLE {table} CASCADE",
    )
    message = alembic_cli.run(*ACCEPT, database=database).refusal()
    assert f"at revision theirs, which is not among the migrations here, and has no table {table}:"
    assert "so ahead=accept does not accept it" in message


def test_another_projects_database_is_not_accepted(
    alembic_cli: AlembicCli, empty_database: str
) -> None:
    databases.execute(
        empty_database, VERSION, "INSERT INTO alembic_version VALUES ('theirs'), ('too')"
    )
    message = alembic_cli.run(*ACCEPT, database=empty_database).refusal()
    assert all(table in message for table in Base.metadata.tables)
    assert "Correct DATABASE_URL." in message


@pytest.mark.parametrize(
    "statement", ["DROP TABLE alembic_version", "DELETE FROM alembic_version"]
)
def test_tables_without_a_recorded_revision(
    alembic_cli: AlembicCli,
    package_command: Callable[..., Result],
    database: str,
    statement: str,
) -> None:
    """As of ``create_all()``, a dump of some tables, or an emptied ``alembic_version``."""
    databases.execute(database, statement)
    plan = package_command("plan", database=database)
    assert plan.status == 1
    assert plan.stdout.endswith("It would not run now.\n")
    text = " ".join(plan.stdout.split())
    for table in Base.metadata.tables:
        assert f"blocks: {table}: It exists, but alembic_version records no revision. Use" in text
    message = alembic_cli.run("upgrade", "head", database=database).refusal()
    for advice in (text, message):
        assert "`alembic stamp REVISION`" in advice


def test_other_tables_do_not_block(
    package_command: Callable[..., Result], empty_database: str
) -> None:
    databases.execute(empty_database, "CREATE TABLE spatial_ref_sys ()")
    assert package_command("plan", database=empty_database).status == 0


@pytest.mark.parametrize("older", [0, len(HISTORY) - 2])
def test_a_row_for_an_ancestor(
    alembic_cli: AlembicCli, package_command: Callable[..., Result], database: str, older: int
) -> None:
    ancestor = HISTORY[older].revision
    databases.execute(database, f"INSERT INTO alembic_version VALUES ('{ancestor}')")
    advice = f"Remove it with `alembic stamp --purge {HEAD}`"
    for arguments in (("upgrade", "head"), ("downgrade", "base"), ("current",), ("check",)):
        message = alembic_cli.run(*arguments, database=database).refusal()
        assert f"one for {ancestor}, which comes before it and is superfluous" in message
        assert advice in message
    for command in ("plan", "drift"):
        result = package_command(command, database=database)
        assert result.status == 2
        assert advice in result.stderr
    alembic_cli.run("stamp", "--purge", str(HEAD), database=database).succeeded()
    assert databases.version(database) == HEAD
