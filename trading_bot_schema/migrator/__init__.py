"""Runs migrations against a live database: one migrator at a time, short locks, clear errors.

``alembic/env.py`` is the caller. ``docs/operations.md`` describes the settings and the messages.
"""

from trading_bot_schema.migrator.connection import connect
from trading_bot_schema.migrator.run import run_migrations, run_online
from trading_bot_schema.migrator.settings import Settings

__all__ = ["Settings", "connect", "run_migrations", "run_online"]
