"""Behind a pooler, migrations work in session mode, and the application in transaction mode too.

With a real PgBouncer, where it is installed.
"""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from threading import Event, Semaphore

import psycopg
import pytest
from alembic import command
from alembic.util import CommandError
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from models import User
from models.database import make_engine
from tests.operations.landed import PROJECT
from tests.support import factories
from tests.support.alembic_cli import Alembic, AlembicCli
from tests.support.pgbouncer import needs_pgbouncer, pgbouncer
from tests.support.probe_revisions import Revisions
from trading_bot_schema.migrator.lock import LOCK_KEY
from verification import Project, databases

CLIENTS, UNITS = 12, 10
"""Clients of the application at once, and units of work for each."""
SESSION_LOCKS = (
    "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database"
    " WHERE locktype = 'advisory' AND datname = current_database()"
)
REFUSED = "a connection pooler in transaction or statement mode"


def state_of_sessions(url: str, number: int = 4) -> set[tuple[object, ...]]:
    """Return the state of the sessions that several clients of a pooler get."""
    query = (
        "SELECT current_setting('lock_timeout'), current_setting('statement_timeout'),"
        " current_setting('idle_in_transaction_session_timeout'), current_user = session_user,"
        " (SELECT count(*) FROM pg_prepared_statements)"
    )
    with ExitStack() as stack:
        connections = [
            stack.enter_context(psycopg.connect(url, autocommit=True)) for _ in range(number)
        ]
        return {connection.execute(query).fetchone() or () for connection in connections}


@contextmanager
def other_clients(url: str, number: int = 3) -> Iterator[None]:
    """Run short transactions of other clients meanwhile."""
    stop, started = Event(), Semaphore(0)

    def work() -> None:
        with psycopg.connect(url, autocommit=True, prepare_threshold=None) as connection:
            while not stop.is_set():
                connection.execute("SELECT pg_sleep(0.005)")
                started.release()

    with ThreadPoolExecutor() as threads:
        try:
            for _ in range(number):
                threads.submit(work)
                assert started.acquire(timeout=60)
            yield
        finally:
            stop.set()


@needs_pgbouncer
def test_session_mode_works_and_leaves_no_session_state(
    alembic_cli: AlembicCli, empty_database: str, todays_revisions: Project
) -> None:
    # Without the reset that PgBouncer does itself by default.
    with pgbouncer(empty_database, "session", server_reset_query="") as url:
        untouched = state_of_sessions(url)
        assert len(untouched) == 1
        for started in [alembic_cli.start("upgrade", "head", database=url) for _ in range(5)]:
            assert started.result().succeeded().messages == []
        assert databases.version(empty_database) == todays_revisions.head
        for arguments in (("check",), ("downgrade", "base")):
            assert alembic_cli.run(*arguments, database=url).succeeded().messages == []
        assert (state_of_sessions(url), databases.scalar(empty_database, SESSION_LOCKS)) == (
            untouched,
            0,
        )


@needs_pgbouncer
@pytest.mark.parametrize(
    ("mode", "pool_size", "clients"),
    [
        ("transaction", 1, 0),
        ("transaction", 20, 0),
        ("statement", 20, 0),
        ("transaction", 2, 3),
        ("transaction", 4, 3),
    ],
)
def test_other_modes_are_refused(
    alembic_cli: AlembicCli, empty_database: str, mode: str, pool_size: int, clients: int
) -> None:
    with pgbouncer(empty_database, mode, default_pool_size=pool_size) as url:
        untouched = state_of_sessions(url, 1)
        with other_clients(url, clients):
            for arguments in (("upgrade", "head"), ("current",), ("upgrade", "head")):
                alembic_cli.run(*arguments, database=url).refusal(REFUSED)
        assert state_of_sessions(url, 1 if pool_size == 1 else 2) == untouched
        assert databases.scalar(empty_database, SESSION_LOCKS) == 0
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
    assert databases.scalar(empty_database, SESSION_LOCKS) == 0


@pytest.mark.parametrize("revisions_after", [0, 1])
def test_a_lock_that_was_lost_is_an_error(
    alembic: Alembic, database: str, revisions: Revisions, revisions_after: int
) -> None:
    revisions.add("probe_1", f'op.execute("SELECT pg_advisory_unlock({LOCK_KEY})")')
    if revisions_after:
        revisions.add("probe_2", 'op.execute("CREATE TABLE probe ()")')
    alembic(database).result().refusal("no longer holds its lock")
    assert databases.version(database) == "probe_1"


async def work(engine: AsyncEngine, client: int) -> None:
    for unit in range(UNITS):
        async with AsyncSession(engine) as session, session.begin():
            email = f"{client}-{unit}@example.com"
            session.add(factories.user(email=email))
            await session.flush()
            user = (await session.scalars(select(User).where(User.email == email))).one()
            user.is_active = False


@needs_pgbouncer
async def test_one_option_of_the_url_is_enough(todays_database: str) -> None:
    with pgbouncer(todays_database, "transaction", default_pool_size=3) as url:
        # Two applications, whose prepared statements would have the same names.
        engines = [make_engine(f"{url}&pooler=transaction") for _ in range(2)]
        await asyncio.gather(*(work(engines[0], client) for client in range(CLIENTS)))
        async with AsyncSession(engines[1]) as session:
            rows = await session.stream_scalars(select(User.is_active))
            assert [active async for active in rows] == [False] * CLIENTS * UNITS
            assert await session.scalar(text("SELECT count(*) FROM pg_prepared_statements")) == 0
        for engine in engines:
            await engine.dispose()
