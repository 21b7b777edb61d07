"""The application's engine and sessions.

Importing this module opens no connection, starts no server and reads no environment variable: the
database URL is determined (see :mod:`trading_bot_schema.url`) when the first connection is opened.
"""

import asyncio
from typing import Any

from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.util import await_only

from models.base import Base
from trading_bot_schema.drivers import asyncpg_arguments, ignore_unreadable_home, missing_file
from trading_bot_schema.redaction import hide_values
from trading_bot_schema.target import connectable
from trading_bot_schema.url import CURRENT_SCHEMA, DatabaseURLError, database_url, wrong_schema

__all__ = ["Base", "SessionLocal", "engine", "make_engine"]


def make_engine(url: str | None = None, **options: Any) -> AsyncEngine:
    """Create an engine for a database, by default the one that the environment names.

    ``options`` are passed to :func:`sqlalchemy.ext.asyncio.create_async_engine`, their
    ``connect_args`` to :func:`asyncpg.connect`, except for SQLAlchemy's own
    (``prepared_statement_cache_size``, ``prepared_statement_name_func``). A URL with
    ``pooler=transaction`` needs none of them. A connection that cannot be opened raises asyncpg's
    exception, or :class:`trading_bot_schema.url.DatabaseURLError`.
    """
    connect_args = options.pop("connect_args", {})

    def connect() -> Any:
        # Like create_async_engine(async_creator=...), which cannot pass the dialect's own
        # arguments.
        target = await_only(
            # In a thread, as it may have to start the embedded server.
            asyncio.to_thread(lambda: connectable(url or database_url()))
        )
        driver = engine.sync_engine.dialect.loaded_dbapi
        ignore_unreadable_home()
        try:
            connection = driver.connect(**(asyncpg_arguments(target) | connect_args))
        except FileNotFoundError as error:
            raise missing_file(target) or error from None
        if reason := wrong_schema(*connection.run_async(_current_schema)):
            connection.terminate()
            raise DatabaseURLError(reason)
        return connection

    defaults: dict[str, Any] = {
        # Bound parameters include key material: keep them out of logs and error messages.
        "hide_parameters": True,
        # Replace pooled connections that broke (server restart, idle timeout).
        "pool_pre_ping": True,
        # Seconds; shorter than the idle timeouts of common proxies and firewalls.
        "pool_recycle": 1800,
    }
    if "poolclass" not in options:
        defaults |= {"pool_size": 5, "max_overflow": 10}
    engine = create_async_engine("postgresql+asyncpg://", creator=connect, **(defaults | options))
    hide_values(engine.sync_engine)
    engine.sync_engine.dialect.do_ping = _ping  # type: ignore[method-assign]
    return engine


async def _current_schema(driver: Any) -> Any:
    return await driver.fetchrow(CURRENT_SCHEMA)


def _ping(dbapi_connection: Any) -> bool:
    """Return whether a pooled connection works, for ``pool_pre_ping``.

    The dialect's own method takes three round trips, as many as a transaction with one statement:
    for poolers it wraps a prepared statement in a transaction. A statement without parameters is
    sent as a simple query, which poolers forward.
    """
    try:
        dbapi_connection.run_async(lambda driver: driver.execute("SELECT"))
    except Exception:
        if dbapi_connection.driver_connection.is_closed():
            return False
        raise
    return True


engine: AsyncEngine = make_engine()
SessionLocal: async_sessionmaker[AsyncSession] = async_sessionmaker(
    engine, class_=AsyncSession, expire_on_commit=False
)
