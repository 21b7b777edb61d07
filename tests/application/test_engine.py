"""The engine reads ``DATABASE_URL`` when it connects, and replaces broken connections."""

from typing import Any

import psycopg
import pytest
from sqlalchemy import event, select, text
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import NullPool

import models
from models import User
from models.database import make_engine
from tests.support import factories

PID = text("SELECT pg_backend_pid()")


async def test_the_default_engine_reads_the_url_when_it_connects(
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
    def use(connection: Any, *_: object) -> None:
        connection.run_async(lambda driver: driver.execute("SELECT"))

    # A listener of the caller, the first of all, must get a working connection as well.
    event.listen(engine.sync_engine, "checkout", use, insert=True)
    async with engine.connect() as one, engine.connect() as other:
        pids = [await connection.scalar(PID) for connection in (one, other)]
    with psycopg.connect(database, autocommit=True) as server:
        server.execute("SELECT pg_terminate_backend(pid, 10000) FROM unnest(%s) pid", [pids])
    async with engine.connect() as one, engine.connect() as other:
        assert not {await connection.scalar(PID) for connection in (one, other)} & {*pids}


async def test_pooled_connections_are_checked_in_one_round_trip(engine: AsyncEngine) -> None:
    statements: list[str] = []
    async with engine.connect() as connection:
        pooled = await connection.get_raw_connection()
        driver = pooled.driver_connection
        assert driver is not None
    driver.add_query_logger(lambda logged: statements.append(logged.query))
    async with engine.connect():
        pass
    assert statements == ["SELECT"]


async def test_options_of_the_caller_take_precedence(database: str) -> None:
    engine = make_engine(database, pool_size=1, max_overflow=0)
    assert engine.pool.size() == 1  # type: ignore[attr-defined]
    await engine.dispose()


async def test_other_pools_and_arguments_of_the_driver(database: str) -> None:
    settings = {"server_settings": {"application_name": "books"}}
    engine = make_engine(database, poolclass=NullPool, connect_args=settings)
    async with engine.connect() as connection:
        assert await connection.scalar(text("SHOW application_name")) == "books"
