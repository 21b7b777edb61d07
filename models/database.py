"""The application's engine and sessions.

Importing this module opens no connection, starts no server and reads no environment variable: the
database URL is determined (see :mod:`trading_bot_schema.url`) when the first connection is opened.
"""

import asyncio
from typing import Any

import asyncpg
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)

from models.base import Base
from trading_bot_schema.redaction import hide_values
from trading_bot_schema.target import connectable
from trading_bot_schema.url import database_url

__all__ = ["Base", "SessionLocal", "engine", "make_engine"]

APPLICATION_NAME = "trading-bot"


def make_engine(url: str | None = None, **options: Any) -> AsyncEngine:
    """Create an engine for a database, by default the one that the environment names.

    ``options`` are passed to :func:`sqlalchemy.ext.asyncio.create_async_engine`, and its
    ``connect_args`` to :func:`asyncpg.connect`. Connecting raises asyncpg's exceptions, or
    :class:`trading_bot_schema.url.DatabaseURLError`.
    """
    connect_args = options.pop("connect_args", {})

    async def connect() -> asyncpg.Connection:
        # In a thread, since it may start the embedded server.
        target = await asyncio.to_thread(lambda: connectable(url or database_url()))
        return await asyncpg.connect(**(connect_arguments(target) | connect_args))

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
    engine = create_async_engine(
        "postgresql+asyncpg://", async_creator=connect, **(defaults | options)
    )
    hide_values(engine.sync_engine)
    return engine


def connect_arguments(url: URL) -> dict[str, Any]:
    """Return a URL as arguments of :func:`asyncpg.connect`, which names some parts differently."""
    options = dict(url.query)
    arguments: dict[str, Any] = url.translate_connect_args(username="user")
    if timeout := int(str(options.pop("connect_timeout", 0))):  # 0: the driver's default
        arguments["timeout"] = timeout
    options.setdefault("application_name", APPLICATION_NAME)
    # asyncpg reads libpq's options from a URL only.
    arguments["dsn"] = URL.create("postgresql", query=options).render_as_string()
    return arguments


engine: AsyncEngine = make_engine()
SessionLocal: async_sessionmaker[AsyncSession] = async_sessionmaker(
    engine, class_=AsyncSession, expire_on_commit=False
)
