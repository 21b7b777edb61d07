"""Where a newer version has migrated, ``ahead=accept`` lets an old ``upgrade head`` succeed."""

import pytest

from tests.operations.landed import HEAD
from tests.support.alembic_cli import AlembicCli
from tests.support.probe_revisions import ADD_COLUMN, Revisions
from trading_bot_schema.drift.catalogue import snapshot
from verification import databases

ACCEPT = ("-x", "ahead=accept")


@pytest.mark.parametrize("target", ["head", str(HEAD)])
def test_upgrade_to_head_succeeds(
    alembic_cli: AlembicCli, database: str, revisions: Revisions, target: str
) -> None:
    """Where the next version has migrated; other commands: ``test_bad_input.py``."""
    revisions.add("next", ADD_COLUMN.format("users", "probe"))
    alembic_cli.run("-c", revisions.ini, "upgrade", "head", database=database).succeeded()
    before = snapshot(database)
    for arguments, environment in (
        ((*ACCEPT, "upgrade", target), {}),
        (("upgrade", target), {"MIGRATION_AHEAD": "accept"}),
    ):
        result = alembic_cli.run(*arguments, database=database, environment=environment)
        (message,) = result.succeeded().messages
        assert "WARNI" in message
        assert (
            f"at revision next, which is not among the migrations here, whose head is {HEAD}"
            in message
        )
    assert snapshot(database) == before
    assert databases.version(database) == "next"


def test_a_database_that_is_not_ahead_is_migrated(
    alembic_cli: AlembicCli, empty_database: str
) -> None:
    assert alembic_cli.run(*ACCEPT, "upgrade", "head", database=empty_database).status == 0
    assert databases.version(empty_database) == HEAD
