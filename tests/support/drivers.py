"""Asks a database through each of the two drivers, as the application and the migrator do."""

import asyncio
from typing import Any

import psycopg
from sqlalchemy import text

from models.database import make_engine
from trading_bot_schema.drivers import libpq_arguments
from trading_bot_schema.url import parse


def ask_asyncpg(url: str, query: str = "SELECT 1") -> Any:
    """Return the answer to a query, in an event loop of its own."""

    async def ask() -> Any:
        engine = make_engine(url)
        try:
            async with engine.connect() as connection:
                return await connection.scalar(text(query))
        finally:
            await engine.dispose()

    return asyncio.run(ask())


def ask_psycopg(url: str, query: str = "SELECT 1") -> Any:
    """Return the answer to a query."""
    with psycopg.connect(**libpq_arguments(parse(url))) as connection:
        return (connection.execute(query.encode()).fetchone() or [None])[0]
