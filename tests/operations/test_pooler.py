"""Migrations through a pooler work in session mode, and are refused in the other modes.

With a real PgBouncer, where it is installed.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from alembic import command
from alembic.util import CommandError

from tests.operations.landed import HEAD, PROJECT
from tests.support.alembic_cli import AlembicCli
from tests.support.pgbouncer import needs_pgbouncer, pgbouncer
from tests.support.probe_revisions import Revisions
from trading_bot_schema.migrator.lock import LOCK_KEY
from verification import databases

REFUSED = "a connection pooler in transaction or statement mode"


def state_of_sessions(url: str, number: int = 4) -> set[tuple[object, ...]]:
    """Return the state of the sessions that several clients of a pooler get."""
    query = (
        "SELECT current_setting('lock_timeout'), current_setting('statement_timeout'),"
        " current_setting('idle_in_transaction_session_timeout'), current_user = session_user,"
        " (SELECT count(*) FROM pg_prepared_statements)"
    )
    connections = [psycopg.connect(url, autocommit=True) for _ in range(number)]
    try:
        return {connection.execute(query).fetchone() or () for connection in connections}
    finally:
        for connection in connections:
            connection.close()


def session_locks(url: str) -> int:
    query = (
        "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database"
        " WHERE locktype = 'advisory' AND datname = current_database()"
    )
    return int(databases.scalar(url, query))


@contextmanager
def other_clients(url: str, number: int = 3) -> Iterator[None]:
    """Run short transactions of other clients meanwhile."""
    stop, started = threading.Event(), threading.Semaphore(0)

    def work() -> None:
        with psycopg.connect(url, prepare_threshold=None) as connection:
            while not stop.is_set():
                connection.execute("SELECT pg_sleep(0.005)")
                connection.commit()
                started.release()

    threads = [threading.Thread(target=work) for _ in range(number)]
    for thread in threads:
        thread.start()
    try:
        for _ in threads:
            assert started.acquire(timeout=60)
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@needs_pgbouncer
def test_session_mode_works_and_leaves_no_session_state(
    alembic_cli: AlembicCli, empty_database: str
) -> None:
    # Without the reset that PgBouncer does itself by default.
    with pgbouncer(empty_database, "session", server_reset_query="") as url:
        untouched = state_of_sessions(url)
        assert len(untouched) == 1
        for arguments in (("upgrade", "head"), ("check",), ("downgrade", "base")):
            result = alembic_cli.run(*arguments, database=url).succeeded()
        assert result.messages == []
        assert state_of_sessions(url) == untouched
        assert session_locks(empty_database) == 0


@needs_pgbouncer
def test_five_upgrades_at_once_in_session_mode(
    alembic_cli: AlembicCli, empty_database: str
) -> None:
    with pgbouncer(empty_database, "session", default_pool_size=20) as url:
        commands = [alembic_cli.start("upgrade", "head", database=url) for _ in range(5)]
        results = [command.result() for command in commands]
    assert [result.output for result in results if result.status] == []
    assert databases.version(empty_database) == HEAD


@needs_pgbouncer
@pytest.mark.parametrize(
    ("mode", "pool_size"), [("transaction", 1), ("transaction", 20), ("statement", 20)]
)
def test_other_modes_are_refused(
    alembic_cli: AlembicCli, empty_database: str, mode: str, pool_size: int
) -> None:
    with pgbouncer(empty_database, mode, default_pool_size=pool_size) as url:
        untouched = state_of_sessions(url, 1)
        for arguments in (("upgrade", "head"), ("current",)):
            assert REFUSED in alembic_cli.run(*arguments, database=url).refusal()
        assert state_of_sessions(url, 1 if pool_size == 1 else 2) == untouched
        assert session_locks(empty_database) == 0
    assert databases.version(empty_database) is None


@needs_pgbouncer
@pytest.mark.parametrize("pool_size", [2, 4])
def test_transaction_mode_is_refused_beside_other_clients(
    alembic_cli: AlembicCli, empty_database: str, pool_size: int
) -> None:
    with (
        pgbouncer(empty_database, "transaction", default_pool_size=pool_size) as url,
        other_clients(url),
    ):
        for _ in range(3):
            assert REFUSED in alembic_cli.run("upgrade", "head", database=url).refusal()
    assert databases.version(empty_database) is None


@needs_pgbouncer
def test_an_application_that_migrates_is_refused_too(empty_database: str) -> None:
    with pgbouncer(empty_database, "transaction") as url, other_clients(url):
        config = PROJECT.config()
        config.attributes["connection"] = engine = databases.sync_engine(url)
        with pytest.raises(CommandError, match=REFUSED):
            command.upgrade(config, "head")
        # In its own transaction it has one server connection, and the lock ends with it.
        with engine.begin() as connection:
            connection.exec_driver_sql("SELECT 1")
            config.attributes["connection"] = connection
            command.upgrade(config, "7c1d0e5a9b42")
    assert databases.version(empty_database) == "7c1d0e5a9b42"
    assert session_locks(empty_database) == 0


@pytest.mark.parametrize("revisions_after", [0, 1])
def test_a_lock_that_was_lost_is_an_error(
    alembic_cli: AlembicCli, database: str, revisions: Revisions, revisions_after: int
) -> None:
    revisions.add("probe_1", f'op.execute("SELECT pg_advisory_unlock({LOCK_KEY})")')
    if revisions_after:
        revisions.add("probe_2", 'op.execute("CREATE TABLE probe ()")')
    message = alembic_cli.run("-c", revisions.ini, "upgrade", "head", database=database).refusal()
    assert "no longer holds its lock" in message
    assert databases.version(database) == "probe_1"
