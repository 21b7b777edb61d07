"""A streaming standby answers queries, and refuses writes and migrations."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from models import User, queries
from models.database import make_engine
from tests.operations.landed import HISTORY, PROJECT
from tests.support.alembic_cli import AlembicCli, Result
from tests.support.factories import MINIMAL_ROWS
from tests.support.waiting import wait_for
from trading_bot_schema import embedded
from trading_bot_schema.url import rendered
from verification import databases
from verification.databases import scalar
from verification.inserting import insert

FAST = {"fsync": "off", "shared_buffers": "16MB"}


class Servers(NamedTuple):
    primary: str
    standby: str

    def wait(self) -> None:
        """Wait until the standby has replayed everything that the primary has committed."""
        written = scalar(self.primary, "SELECT pg_current_wal_flush_lsn()")
        replayed = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
        wait_for(lambda: scalar(self.standby, replayed, written))


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    """A primary with a user, before the last revision, and its standby."""
    with embedded.temporary(FAST) as primary:
        standby = Path(str(primary.query["host"])).with_name("standby")
        account = embedded._account()
        copy = embedded._prepare(standby, account) / "data"
        result = embedded._run(
            account,
            embedded.programs(account) / "pg_basebackup",
            *("-h", primary.query["host"], "-p", primary.query["port"], "-U", primary.username),
            *("--checkpoint=fast", "--no-sync", "--write-recovery-conf", "-D", copy),
        )
        assert result.returncode == 0, result.stderr
        servers = Servers(rendered(primary), rendered(embedded.start(standby, FAST)))
        PROJECT.migrate(servers.primary, HISTORY[-2].revision)
        with psycopg.connect(servers.primary) as connection:
            insert(connection, "users", MINIMAL_ROWS["users"])
        servers.wait()
        yield servers
        embedded.stop(standby)


async def test_the_application_can_read(servers: Servers) -> None:
    engine = make_engine(servers.standby)
    async with AsyncSession(engine) as session:
        assert await session.scalar(select(User.email)) == MINIMAL_ROWS["users"]["email"]
        session.add(User(**MINIMAL_ROWS["users"]))
        with pytest.raises(DBAPIError, match="read-only"):
            await session.flush()
        await session.rollback()
        with pytest.raises(DBAPIError, match="read-only"):
            await queries.claim_due_bots(session)
    await engine.dispose()


def test_the_commands(
    servers: Servers, alembic_cli: AlembicCli, package_command: Callable[..., Result]
) -> None:
    message = alembic_cli.run("upgrade", "head", database=servers.standby).refusal()
    assert "read-only" in message
    assert "This server is a standby: point DATABASE_URL at the primary." in message
    assert databases.version(servers.standby) == HISTORY[-2].revision

    result = package_command("plan", database=servers.standby)
    assert result.status == 1
    assert "this server is a standby" in result.stdout
    result = package_command("plan", database=servers.primary)
    assert "is a standby that has yet to replay" in result.stdout

    drift = ("drift", "--scratch", servers.primary)
    package_command(*drift, database=servers.standby).succeeded()
    databases.execute(servers.primary, "ALTER TABLE trades ALTER price DROP NOT NULL")
    servers.wait()
    result = package_command(*drift, database=servers.standby)
    assert result.status == 1
    assert "TABLE public.trades:" in result.stdout
