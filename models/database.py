"""The application's engine and sessions.

Importing this module opens no connection, starts no server and reads no environment variable: the
database URL is determined (see :mod:`trading_bot_schema.url`) when the first connection is opened.
"""

import asyncio
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import event
from sqlalchemy.engine import ExceptionContext
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

READ_ONLY = "25006"
"""SQLSTATE of a write in a transaction that is read-only."""


def make_engine(url: str | None = None, **options: Any) -> AsyncEngine:
    """Create an engine for a database, by default the one that the environment names.

    ``options`` are passed to :func:`sqlalchemy.ext.asyncio.create_async_engine`, their
    ``connect_args`` to :func:`asyncpg.connect`, except for SQLAlchemy's own
    (``prepared_statement_cache_size``, ``prepared_statement_name_func``). A URL with
    ``pooler=transaction`` needs none of them. A connection that cannot be opened raises asyncpg's
    exception, or :class:`trading_bot_schema.url.DatabaseURLError`.
    """
    connect_args = options.pop("connect_args", {})
    loops: WeakKeyDictionary[Any, asyncio.AbstractEventLoop] = WeakKeyDictionary()

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
        loops[connection.driver_connection] = asyncio.get_running_loop()
        return connection

    def has_ended(connection: Any) -> bool:
        """Return whether a connection is of an earlier asyncio.run(), and cannot be used."""
        return loops[connection.driver_connection].is_closed()

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
    event.listen(engine.sync_engine, "handle_error", _replace_read_only)
    dialect: Any = engine.sync_engine.dialect
    close, terminate = dialect.do_close, dialect.do_terminate
    dialect.do_ping = lambda connection: not has_ended(connection) and _ping(connection)
    dialect.do_close = lambda connection: has_ended(connection) or close(connection)
    dialect.do_terminate = lambda connection: has_ended(connection) or terminate(connection)
    return engine


def _replace_read_only(context: ExceptionContext) -> None:
    """Replace the pool's connections when a server has become read-only, as after a failover."""
    if getattr(context.original_exception, "sqlstate", None) == READ_ONLY:
        context.is_disconnect = True


async def _current_schema(driver: Any) -> Any:
    async with driver.transaction():  # during which a pooler keeps the session
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
