"""A downgrade that loses rows warns; with ``lose=refuse``, it is refused."""

import pytest

from tests.operations.landed import HEAD
from tests.support.alembic_cli import AlembicCli
from tests.support.probe_revisions import Revisions
from trading_bot_schema.drift.catalogue import snapshot
from verification import databases

REFUSE = ("-x", "lose=refuse")


INSERT = (
    "INSERT INTO users (email, hashed_password)"
    " SELECT n || '@example.com', 'hash' FROM generate_series(1, 20) n"
)


def test_a_downgrade_that_loses_rows_is_refused(alembic_cli: AlembicCli, database: str) -> None:
    databases.execute(database, INSERT, "ANALYZE users")
    before = snapshot(database)
    for arguments, environment in (
        ((*REFUSE, "downgrade", "base"), {}),
        (("downgrade", "base"), {"MIGRATION_LOSE": "refuse"}),
    ):
        message = alembic_cli.run(*arguments, database=database, environment=environment).refusal()
        assert "This downgrade loses users (about 20 rows), and lose=refuse says" in message
    assert snapshot(database) == before
    assert databases.version(database) == HEAD


def test_without_the_guard_there_is_a_warning(alembic_cli: AlembicCli, database: str) -> None:
    databases.execute(database, INSERT)
    result = alembic_cli.run("downgrade", "base", database=database).succeeded()
    (message,) = result.messages
    assert message.endswith("This downgrade loses users (some rows).")
    assert databases.version(database) is None
    lines = result.stderr.splitlines()
    running = next(number for number, line in enumerate(lines) if "Running downgrade" in line)
    assert message in lines[running - 1]  # before it starts


def test_what_loses_nothing_is_not_refused(alembic_cli: AlembicCli, database: str) -> None:
    # The head revision keeps all data, and empty tables have none.
    for arguments in (("downgrade", "-1"), ("downgrade", "base"), ("upgrade", "head")):
        result = alembic_cli.run(*REFUSE, *arguments, database=database).succeeded()
        assert result.messages == []


@pytest.mark.parametrize("analyze", [False, True])
def test_a_column_is_lost_with_its_rows(
    alembic_cli: AlembicCli, database: str, revisions: Revisions, analyze: bool
) -> None:
    revisions.add(
        "probe",
        'op.add_column("users", sa.Column("probe", sa.Integer()))',
        'op.drop_column("users", "probe")',
        docstring="A probe.\n\nLocks: ACCESS EXCLUSIVE on users.\nDowngrade: loses users.probe.\n",
    )
    command = ("-c", revisions.ini, *REFUSE)
    assert alembic_cli.run(*command, "upgrade", "head", database=database).status == 0
    databases.execute(database, INSERT, *(["ANALYZE users"] if analyze else []))
    message = alembic_cli.run(*command, "downgrade", "-1", database=database).refusal()
    rows = "about 20 rows" if analyze else "some rows"
    assert f"loses users.probe ({rows})" in message
    assert databases.version(database) == "probe"
