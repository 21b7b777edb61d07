"""A streaming standby answers queries, and refuses writes and migrations."""

import shutil
import tempfile
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
from tests.operations.landed import PROJECT
from tests.support import commandline
from tests.support.alembic_cli import Result
from tests.support.factories import MINIMAL_ROWS
from tests.support.waiting import wait_for
from trading_bot_schema import embedded
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
    home = Path(tempfile.mkdtemp(prefix="standby-"))
    home.chmod(0o755)  # the servers may run as another account
    try:
        primary = embedded.start(home / "primary", FAST)
    except embedded.EmbeddedError as error:
        shutil.rmtree(home, ignore_errors=True)
        pytest.skip(str(error))
    account = embedded._account()
    copy = embedded._prepare(home / "standby", account) / "data"
    result = embedded._run(
        account,
        embedded.programs(account) / "pg_basebackup",
        *("-h", primary.query["host"], "-p", primary.query["port"], "-U", primary.username),
        *("--checkpoint=fast", "--no-sync", "--write-recovery-conf", "-D", copy),
    )
    assert result.returncode == 0, result.stderr
    standby = embedded.start(home / "standby", FAST)
    yield Servers(*(url.render_as_string(hide_password=False) for url in (primary, standby)))
    for name in ("standby", "primary"):
        embedded.stop(home / name)
        shutil.rmtree((home / name).resolve(), ignore_errors=True)
    shutil.rmtree(home, ignore_errors=True)


async def test_a_standby_answers_queries_and_refuses_writes(servers: Servers) -> None:
    PROJECT.migrate(servers.primary)
    with psycopg.connect(servers.primary) as connection:
        user = insert(connection, "users", MINIMAL_ROWS["users"])
    servers.wait()
    engine = make_engine(servers.standby)
    async with AsyncSession(engine) as session:
        assert await session.scalar(select(User.email)) == user["email"]
        session.add(User(**MINIMAL_ROWS["users"]))
        with pytest.raises(DBAPIError, match="read-only"):
            await session.flush()
        await session.rollback()
        with pytest.raises(DBAPIError, match="read-only"):
            await queries.claim_due_bots(session)
    await engine.dispose()


def test_upgrading_a_standby_is_refused(servers: Servers) -> None:
    PROJECT.migrate(servers.primary)
    PROJECT.migrate(servers.primary, "-1")
    servers.wait()
    before = databases.version(servers.standby)
    result = commandline.run("alembic", "upgrade", "head", DATABASE_URL=servers.standby)
    assert result.status > 0
    assert "read-only" in result.stderr
    assert "This server is a standby: point DATABASE_URL at the primary." in result.stderr
    assert databases.version(servers.standby) == before
    PROJECT.migrate(servers.primary)
    servers.wait()
    assert databases.version(servers.standby) == databases.version(servers.primary) != before


def test_plan_and_drift_on_a_standby(
    servers: Servers, package_command: Callable[..., Result]
) -> None:
    PROJECT.migrate(servers.primary)
    PROJECT.migrate(servers.primary, "-1")
    servers.wait()
    result = package_command("plan", database=servers.standby)
    assert result.status == 1
    assert "this server is a standby" in result.stdout
    arguments = ("drift", "--scratch", servers.primary)
    package_command(*arguments, database=servers.standby).succeeded()
    databases.execute(servers.primary, "ALTER TABLE trades ALTER price DROP NOT NULL")
    servers.wait()
    result = package_command(*arguments, database=servers.standby)
    databases.execute(servers.primary, "ALTER TABLE trades ALTER price SET NOT NULL")
    assert result.status == 1
    assert "TABLE public.trades:" in result.stdout


def test_plan_on_the_primary_shows_the_lag_of_the_standby(
    servers: Servers, package_command: Callable[..., Result]
) -> None:
    PROJECT.migrate(servers.primary)
    PROJECT.migrate(servers.primary, "-1")
    result = package_command("plan", database=servers.primary)
    assert "is a standby that has yet to replay" in result.stdout
