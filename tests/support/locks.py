"""Waits until sessions are blocked by a lock."""

import asyncio

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

_WAITING = text(
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


async def wait_for_blocked_sessions(engine: AsyncEngine, sessions: int = 1) -> None:
    """Return when exactly ``sessions`` sessions of the database wait for a lock."""
    async with asyncio.timeout(30), engine.connect() as connection:
        while await connection.scalar(_WAITING) != sessions:
            await connection.rollback()  # to discard the snapshot of the statistics
            await asyncio.sleep(0.01)
