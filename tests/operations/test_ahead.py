"""Where a newer version has migrated, ``ahead=accept`` lets an old ``upgrade head`` succeed."""

import pytest

from tests.operations.landed import HEAD
from tests.support.alembic_cli import AlembicCli
from tests.support.probe_revisions import Revisions
from trading_bot_schema.drift.catalogue import snapshot
from verification import databases

ACCEPT = ("-x", "ahead=accept")


@pytest.fixture
def ahead(alembic_cli: AlembicCli, database: str, revisions: Revisions) -> str:
    """A database that the next version has migrated."""
    revisions.add("next", 'op.add_column("users", sa.Column("probe", sa.Integer()))')
    alembic_cli.run("-c", revisions.ini, "upgrade", "head", database=database).succeeded()
    return database


@pytest.mark.parametrize("target", ["head", str(HEAD)])
def test_upgrade_to_head_succeeds(alembic_cli: AlembicCli, ahead: str, target: str) -> None:
    before = snapshot(ahead)
    for arguments, environment in (
        ((*ACCEPT, "upgrade", target), {}),
        (("upgrade", target), {"MIGRATION_AHEAD": "accept"}),
    ):
        result = alembic_cli.run(*arguments, database=ahead, environment=environment).succeeded()
        (message,) = result.messages
        assert "WARNI" in message
        assert (
            f"at revision next, which is not among the migrations here, whose head is {HEAD}"
            in (message)
        )
    assert snapshot(ahead) == before
    assert databases.version(ahead) == "next"


@pytest.mark.parametrize(
    "arguments", [("downgrade", "base"), ("downgrade", "-1"), ("upgrade", "+1"), ("check",)]
)
def test_other_commands_are_refused(
    alembic_cli: AlembicCli, ahead: str, arguments: tuple[str, ...]
) -> None:
    message = alembic_cli.run(*ACCEPT, *arguments, database=ahead).refusal()
    assert "The database is at revision next" in message
    assert databases.version(ahead) == "next"


def test_a_database_that_is_not_ahead_is_migrated(
    alembic_cli: AlembicCli, empty_database: str
) -> None:
    assert alembic_cli.run(*ACCEPT, "upgrade", "head", database=empty_database).status == 0
    assert databases.version(empty_database) == HEAD
