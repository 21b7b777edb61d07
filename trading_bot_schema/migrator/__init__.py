"""Runs migrations against a live database: one migrator at a time, short locks, clear errors.

``alembic/env.py`` is the caller. ``docs/operations.md`` describes the settings and the messages.
"""

from trading_bot_schema.migrator.connection import connect
from trading_bot_schema.migrator.plan import Plan
from trading_bot_schema.migrator.run import run, run_for_caller
from trading_bot_schema.migrator.settings import Settings

__all__ = ["Plan", "Settings", "connect", "run", "run_for_caller"]
