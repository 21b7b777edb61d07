"""The application works behind a pooler in transaction mode, with one option in its URL.

With a real PgBouncer, where it is installed.
"""

import asyncio
import itertools

import psycopg
import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from models import User
from models.database import make_engine
from tests.support import factories
from tests.support.pgbouncer import needs_pgbouncer, pgbouncer

CLIENTS, UNITS = 12, 10
"""Clients at once, and units of work for each."""


async def work(engine: AsyncEngine, client: int) -> None:
    for unit in range(UNITS):
        async with AsyncSession(engine) as session, session.begin():
            email = f"{client}-{unit}@example.com"
            session.add(factories.user(email=email))
            await session.flush()
            user = (await session.scalars(select(User).where(User.email == email))).one()
            user.is_active = False


@needs_pgbouncer
async def test_one_option_of_the_url_is_enough(database: str) -> None:
    with pgbouncer(database, "transaction", default_pool_size=3) as url:
        # Two applications, whose prepared statements would have the same names.
        engines = [make_engine(f"{url}&pooler=transaction") for _ in range(2)]
        await asyncio.gather(*(work(engines[0], client) for client in range(CLIENTS)))
        async with AsyncSession(engines[1]) as session:
            rows = await session.stream_scalars(select(User.is_active))
            assert [active async for active in rows] == [False] * CLIENTS * UNITS
            assert await session.scalar(text("SELECT count(*) FROM pg_prepared_statements")) == 0
        for engine in engines:
            await engine.dispose()


@needs_pgbouncer
@pytest.mark.parametrize("option", ["", "&pooler=transaction"])
async def test_the_next_transaction_is_in_another_session(database: str, option: str) -> None:
    statement = text("SELECT pg_backend_pid()")
    with pgbouncer(database, "transaction", default_pool_size=2) as url:
        engine = make_engine(url + option)
        async with engine.connect() as connection:
            session = await connection.scalar(statement)
        # PgBouncer assigns the session that was used last, so this client has it now.
        with psycopg.connect(url) as other:
            assert other.execute("SELECT pg_backend_pid()").fetchone() == (session,)
            async with engine.connect() as connection:
                if option:
                    assert await connection.scalar(statement) != session
                else:
                    with pytest.raises(DBAPIError, match=r"prepared statement .* does not exist"):
                        await connection.scalar(statement)
        await engine.dispose()


async def test_documented_arguments_are_used(database: str) -> None:
    names = itertools.count()
    engine = make_engine(
        database,
        connect_args={
            "statement_cache_size": 0,
            "prepared_statement_cache_size": 0,
            "prepared_statement_name_func": lambda: f"custom_{next(names)}",
        },
    )
    async with engine.connect() as connection:
        prepared = await connection.scalars(text("SELECT name FROM pg_prepared_statements"))
        assert any(name.startswith("custom_") for name in prepared)
    await engine.dispose()
