"""The engine and the session factory."""

import pickle
from contextlib import suppress

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.pool import NullPool

import models
from models import User, database
from models.database import make_engine
from tests.support import commandline, factories

WITHOUT_SIDE_EFFECTS = """
import socket, subprocess, sys

def forbidden(*arguments, **options):
    sys.exit("importing must not do this")

socket.socket.connect = subprocess.Popen.__init__ = forbidden
from models import ApiKey, Base, BotConfig, BotState, SessionLocal, Trade, User, engine
from models.database import Base, SessionLocal, engine
"""


@pytest.mark.parametrize("url", [None, "", "nonsense"])
def test_importing_does_nothing(url: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if url is not None:
        monkeypatch.setenv("DATABASE_URL", url)
    done = commandline.run("timeit", "-n1", "-r1", WITHOUT_SIDE_EFFECTS)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_package_and_module_offer_the_same() -> None:
    assert models.engine is database.engine
    assert models.SessionLocal is database.SessionLocal
    assert models.Base is database.Base


def test_the_session_factory() -> None:
    session = models.SessionLocal()
    assert isinstance(session, AsyncSession)
    assert session.bind is models.engine
    assert session.sync_session.expire_on_commit is False


async def test_the_default_engine_finds_the_database_when_it_connects(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database)
    async with models.SessionLocal() as session:
        session.add(factories.user())
        await session.commit()
        assert (await session.scalars(select(User))).one().is_active
    await models.engine.dispose()


async def test_connections_say_whose_they_are(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        assert await connection.scalar(text("SHOW application_name")) == "trading-bot"


async def test_a_broken_connection_is_replaced(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        pid = await connection.scalar(text("SELECT pg_backend_pid()"))
    async with engine.connect() as connection, engine.connect() as other:
        own = await connection.scalar(text("SELECT pg_backend_pid()"))
        assert own == pid
        await other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
        with suppress(Exception):
            await connection.execute(text("SELECT 1"))
    async with engine.connect() as connection:
        assert await connection.scalar(text("SELECT 1")) == 1


async def test_options_of_the_caller_win(database: str) -> None:
    engine = make_engine(database, pool_size=1, max_overflow=0)
    assert engine.pool.size() == 1  # type: ignore[attr-defined]
    await engine.dispose()


async def test_other_pools_and_arguments_of_the_driver(database: str) -> None:
    settings = {"server_settings": {"application_name": "books"}}
    engine = make_engine(database, poolclass=NullPool, connect_args=settings)
    async with engine.connect() as connection:
        assert await connection.scalar(text("SHOW application_name")) == "books"


async def test_bound_values_are_not_in_error_messages(session: AsyncSession) -> None:
    session.add(factories.user(email="same@example.com", hashed_password="hash-of-ada"))
    session.add(factories.user(email="same@example.com", hashed_password="hash-of-bob"))
    with pytest.raises(IntegrityError) as caught:
        await session.flush()
    assert "hash-of" not in str(caught.value)


def test_engine_shows_no_password() -> None:
    engine = make_engine("postgresql://ada:hunter2@db/bot")
    assert "hunter2" not in repr(engine)
    assert b"hunter2" not in pickle.dumps(engine.url)
