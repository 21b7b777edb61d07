"""Rows that row-level security hides are an error that names BYPASSRLS, never no rows."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from tests.operations.landed import HEAD
from tests.support.alembic_cli import AlembicCli, Result
from verification import databases

HIDDEN = 'row-level security policy for table "{}"'


class Roles(NamedTuple):
    owner: str
    """The database as the owner of its tables, who is no superuser."""
    watcher: str
    """The database as a role that may read everything."""


@pytest.fixture
def roles(
    alembic_cli: AlembicCli, empty_database: str, make_role: Callable[..., str]
) -> Iterator[Roles]:
    owner, watcher = make_role("_owner"), make_role("_watcher", "pg_read_all_data, pg_monitor")
    databases.execute(empty_database, f"GRANT CREATE, USAGE ON SCHEMA public TO {owner}")
    roles = Roles(*(databases.as_role(empty_database, role) for role in (owner, watcher)))
    alembic_cli.run("upgrade", "head", database=roles.owner).succeeded()
    yield roles
    databases.execute(empty_database, f"DROP OWNED BY {owner}")


def enable(url: str, table: str) -> None:
    databases.execute(
        url,
        f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
        f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY",
    )


@pytest.mark.parametrize(
    "arguments", [("upgrade", "head"), ("downgrade", "base"), ("current",), ("check",)]
)
def test_the_revision(
    alembic_cli: AlembicCli, roles: Roles, empty_database: str, arguments: tuple[str, ...]
) -> None:
    enable(empty_database, "alembic_version")
    for url in roles:
        message = alembic_cli.run(*arguments, database=url).refusal()
        assert HIDDEN.format("alembic_version") in message
        assert "which needs BYPASSRLS" in message
    assert databases.version(empty_database) == HEAD


@pytest.mark.parametrize("command", ["plan", "drift"])
def test_the_revision_for_reports(
    package_command: Callable[..., Result], roles: Roles, empty_database: str, command: str
) -> None:
    enable(empty_database, "alembic_version")
    for url in roles:
        result = package_command(command, database=url)
        assert result.status == 2
        assert HIDDEN.format("alembic_version") in result.stderr
        assert "which needs BYPASSRLS" in result.stderr


@pytest.mark.parametrize("lose", ["refuse", "warn"])
def test_rows_that_a_downgrade_loses(
    alembic_cli: AlembicCli, roles: Roles, empty_database: str, lose: str
) -> None:
    databases.execute(
        empty_database, "INSERT INTO users (email, hashed_password) VALUES ('a@b.c', 'hash')"
    )
    enable(empty_database, "users")
    downgrade = ("-x", f"lose={lose}", "downgrade", "base")
    result = alembic_cli.run(*downgrade, database=roles.owner)
    (message,) = result.messages
    assert "loses users (row-level security hides its rows from this role, which needs" in message
    assert (result.status == 0) == (lose == "warn")


def test_a_role_that_bypasses_it(
    alembic_cli: AlembicCli, roles: Roles, empty_database: str
) -> None:
    enable(empty_database, "users")
    role = roles.owner.partition("//")[2].partition(":")[0]
    databases.execute(empty_database, f"ALTER ROLE {role} BYPASSRLS")
    downgrade = ("-x", "lose=refuse", "downgrade", "base")
    assert alembic_cli.run(*downgrade, database=roles.owner).succeeded().messages == []
