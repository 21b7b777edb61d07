"""The engine reads ``DATABASE_URL`` when it connects, and replaces broken connections."""

import subprocess
import sys
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import NullPool, QueuePool

from models.database import make_engine

PID = text("SELECT pg_backend_pid()")


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
        driver: Any = (await connection.get_raw_connection()).driver_connection
    driver.add_query_logger(lambda logged: statements.append(logged.query))
    async with engine.connect():
        pass
    assert statements == ["SELECT"]


@pytest.mark.parametrize(
    ("options", "query", "answer", "size"),
    [
        ({"pool_size": 1, "max_overflow": 0}, "SHOW application_name", "trading-bot", 1),
        (
            {
                "poolclass": NullPool,
                "connect_args": {"server_settings": {"application_name": "books"}},
            },
            "SHOW application_name",
            "books",
            None,
        ),
        (
            {
                "connect_args": {
                    "statement_cache_size": 0,
                    "prepared_statement_cache_size": 0,
                    "prepared_statement_name_func": lambda: f"custom_{uuid4().hex}",
                }
            },
            "SELECT left(min(name), 7) FROM pg_prepared_statements",
            "custom_",
            5,
        ),
    ],
)
async def test_options_of_the_caller_take_precedence(
    database: str, options: dict[str, Any], query: str, answer: str, size: int | None
) -> None:
    engine = make_engine(database, **options)
    async with engine.connect() as connection:
        assert await connection.scalar(text(query)) == answer
    assert (engine.pool.size() if isinstance(engine.pool, QueuePool) else None) == size
    await engine.dispose()


SECOND_LOOP = """
import asyncio, os, sys
from sqlalchemy import text
import models

os.environ["DATABASE_URL"] = sys.argv[1]  # read when it connects

async def pid():
    async with models.SessionLocal() as session:
        return await session.scalar(text("SELECT pg_backend_pid()"))

assert len({asyncio.run(pid()) for _ in range(3)}) == 3
asyncio.run(models.engine.dispose())
"""


def test_a_second_event_loop(database: str) -> None:
    """As with ``asyncio.run()`` per command: the pooled connections belong to the first one."""
    result = subprocess.run(
        [sys.executable, "-W", "ignore::ResourceWarning", "-c", SECOND_LOOP, database],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")


async def test_a_server_that_becomes_read_only(engine: AsyncEngine, database: str) -> None:
    """As after a failover behind a proxy that keeps connections open."""
    write = text("CREATE TABLE probe ()")
    async with engine.connect() as connection:
        await connection.execute(text("SET default_transaction_read_only = on"))
        await connection.commit()
        with pytest.raises(DBAPIError, match="read-only transaction"):
            await connection.execute(write)
    async with engine.begin() as connection:  # a new one
        await connection.execute(write)
