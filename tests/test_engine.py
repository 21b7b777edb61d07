"""The engine finds its database when it connects, and replaces broken connections."""

import psycopg
import pytest
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import NullPool

import models
from models import User
from models.database import make_engine
from tests.support import factories

PID = text("SELECT pg_backend_pid()")


async def test_the_default_engine_finds_the_database_when_it_connects(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database)
    async with models.SessionLocal() as session:
        user = factories.user()
        session.add(user)
        await session.commit()
        assert user.is_active, "an expired attribute would be loaded, which fails"
        assert (await session.scalars(select(User))).one() is user
    await models.engine.dispose()


async def test_connections_have_an_application_name(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        assert await connection.scalar(text("SHOW application_name")) == "trading-bot"


async def test_broken_connections_are_replaced(engine: AsyncEngine, database: str) -> None:
    async with engine.connect() as one, engine.connect() as other:
        pids = [await connection.scalar(PID) for connection in (one, other)]
    with psycopg.connect(database, autocommit=True) as server:
        server.execute("SELECT pg_terminate_backend(pid, 10000) FROM unnest(%s) pid", [pids])
    async with engine.connect() as one, engine.connect() as other:
        assert not {await connection.scalar(PID) for connection in (one, other)} & {*pids}


async def test_options_of_the_caller_win(database: str) -> None:
    engine = make_engine(database, pool_size=1, max_overflow=0)
    assert engine.pool.size() == 1  # type: ignore[attr-defined]
    await engine.dispose()


async def test_other_pools_and_arguments_of_the_driver(database: str) -> None:
    settings = {"server_settings": {"application_name": "books"}}
    engine = make_engine(database, poolclass=NullPool, connect_args=settings)
    async with engine.connect() as connection:
        assert await connection.scalar(text("SHOW application_name")) == "books"
