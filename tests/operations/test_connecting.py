"""The migrator waits for a server that is starting, unreachable or at its connection limit."""

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from tests.operations.landed import HEAD
from tests.support.alembic_cli import Alembic, AlembicCli, Command
from tests.support.probe_revisions import Revisions
from trading_bot_schema import embedded
from verification import databases

SETTINGS = {"fsync": "off", "max_connections": "8"}


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """The directory of a server for these tests."""
    with embedded.temporary(SETTINGS) as url:
        yield Path(str(url.query["host"]))


def start(home: Path, **settings: str) -> str:
    return embedded.start(home, SETTINGS | settings).render_as_string()


def waiting(alembic_cli: AlembicCli, url: str, *arguments: str) -> Command:
    """Start a command; wait until it logs a retry."""
    return alembic_cli.start(*arguments, database=url).until("Trying again for ")


def assert_success(command: Command, *parts: str) -> str:
    """Wait until the command succeeds; return its only message, which must have all parts."""
    (message,) = command.result().succeeded().messages
    for part in ("WARNI [alembic.migrator] Cannot connect to the database: ", *parts):
        assert part in message
    return message


def test_a_server_that_is_down_and_then_starts(alembic_cli: AlembicCli, home: Path) -> None:
    url = start(home)
    embedded.stop(home)
    upgrade = waiting(alembic_cli, url, "upgrade", "head")
    # A standby that accepts no queries until it is promoted.
    data = home.resolve() / "data"
    (data / "standby.signal").touch()
    account = embedded._account()
    if account:
        shutil.chown(data / "standby.signal", account)
    start(home, hot_standby="off")
    current = waiting(alembic_cli, url, "current")
    result = embedded._run(account, embedded.programs(account) / "pg_ctl", "promote", data=data)
    assert result.returncode == 0, result.stderr
    assert_success(upgrade, "Check that it is up, and host and port in DATABASE_URL.")
    assert "DATABASE_URL" not in assert_success(current, "the database system is")
    assert databases.version(url) == HEAD


@pytest.fixture
def limited(empty_database: str, make_role: Callable[..., str]) -> str:
    """The database as a role with a limit of one connection."""
    role = make_role()
    databases.execute(
        empty_database,
        f"ALTER ROLE {role} CONNECTION LIMIT 1",
        f"GRANT CREATE ON SCHEMA public TO {role}",
    )
    return databases.as_role(empty_database, role)


@pytest.mark.parametrize(
    ("connections", "reason"),
    [(1, "too many connections for role"), (int(SETTINGS["max_connections"]), "too many clients")],
)
def test_no_free_connection(
    alembic_cli: AlembicCli, home: Path, limited: str, connections: int, reason: str
) -> None:
    url = limited if connections == 1 else start(home)
    with ExitStack() as others:
        for _ in range(connections):
            others.enter_context(psycopg.connect(url))
        current = waiting(alembic_cli, url, "current")  # which needs no second connection
    message = assert_success(current, reason, "All connections that it allows are in use")
    assert "DATABASE_URL" not in message


def test_the_wait_is_limited(alembic_cli: AlembicCli) -> None:
    url = "postgresql:///bot?host=/nonexistent"
    result = alembic_cli.run("-x", "connect_wait=500ms", "current", database=url)
    warning, error = result.messages
    assert "Trying again for 0.5 s." in warning
    assert re.match("ERROR .*Check that it is up", error)


def test_a_role_without_a_second_connection(
    alembic: Alembic, empty_database: str, limited: str, revisions: Revisions
) -> None:
    assert alembic(limited).result().status == 0
    revisions.add("probe", 'op.execute("LOCK TABLE users")')
    with databases.transaction(empty_database, "SELECT FROM users"):
        result = alembic(limited, lock_timeout="300ms", lock_attempts=1).result()
    assert result.status != 0
    assert "Blocked by an unknown session, as the migration is not watched" in result.messages[-1]
    assert "too many connections for role" in result.output
