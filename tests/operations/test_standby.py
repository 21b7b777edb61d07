"""A streaming standby answers queries, and refuses writes and migrations."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import URL, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from models import User, queries
from models.database import make_engine
from tests.support.alembic_cli import AlembicCli, Result
from tests.support.factories import MINIMAL_ROWS
from tests.support.waiting import wait_for
from trading_bot_schema import embedded
from trading_bot_schema.url import rendered
from verification import Project, databases
from verification.databases import insert, scalar

FAST = {"fsync": "off", "shared_buffers": "16MB"}


@contextmanager
def standby_of(primary: URL) -> Iterator[str]:
    """Start a standby of an embedded server; yield its URL."""
    home = Path(str(primary.query["host"])).with_name("standby")
    account = embedded._account()
    result = embedded._run(
        account,
        embedded.programs(account) / "pg_basebackup",
        *("-h", primary.query["host"], "-p", primary.query["port"], "-U", primary.username),
        *("--checkpoint=fast", "--no-sync", "--write-recovery-conf"),
        *("-D", embedded._prepare(home, account) / "data"),
    )
    assert result.returncode == 0, result.stderr
    yield rendered(embedded.start(home, FAST))
    embedded.stop(home)


async def test_a_standby(
    alembic_cli: AlembicCli, package_command: Callable[..., Result], todays_revisions: Project
) -> None:
    with embedded.temporary(FAST) as server, standby_of(server) as standby:
        primary = rendered(server)

        def wait() -> None:
            """Wait until the standby has replayed everything that the primary has committed."""
            written = scalar(primary, "SELECT pg_current_wal_flush_lsn()")
            replayed = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
            wait_for(lambda: scalar(standby, replayed, written))

        todays_revisions.migrate(primary)
        with psycopg.connect(primary) as connection:
            insert(connection, "users", MINIMAL_ROWS["users"])
        wait()

        engine = make_engine(standby)
        async with AsyncSession(engine) as session:
            assert await session.scalar(select(User.email)) == MINIMAL_ROWS["users"]["email"]
            session.add(User(**MINIMAL_ROWS["users"]))
            with pytest.raises(DBAPIError, match="read-only"):
                await session.flush()
            await session.rollback()
            with pytest.raises(DBAPIError, match="read-only"):
                await queries.claim_due_bots(session)
        await engine.dispose()

        drift = ("drift", "--scratch", primary)
        package_command(*drift, database=standby).succeeded()
        databases.execute(primary, "ALTER TABLE trades ALTER price DROP NOT NULL")
        wait()
        package_command(*drift, database=standby).ended(1, "TABLE public.trades:")

        todays_revisions.migrate(primary, "-1")
        wait()
        alembic_cli.run("upgrade", "head", database=standby).refusal(
            "This server is a standby: point DATABASE_URL at the primary."
        )
        assert databases.version(standby) == todays_revisions.history[-2].revision

        package_command("plan", database=standby).ended(1, "this server is a standby")
        lagging = "is a standby that has yet to replay"
        package_command("plan", database=primary).succeeded(lagging)
