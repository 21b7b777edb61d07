"""Index the hot queries.

Why: the last trades of a bot or a user, a day's count and the realised pnl read ever more as
trades grow, and so does the search for bots that are due as bots are given up. And a bot's
state, rewritten at every run, needs room on its page for the next version, else each run moves
it and has to write to the indexes too. docs/benchmarks.md has the measurements.
Locks: SHARE UPDATE EXCLUSIVE on trades, bot_configs and bot_states, while their rows are read.
They can be read and written meanwhile. Each index waits for the transactions that are open on its
table, and takes about a second for a million trades.
Old code: works.
Downgrade: keeps all data.

Revision ID: 3f8a6c2d417e
Revises: 7c1d0e5a9b42
Create Date: 2026-11-24 00:01:00+00:00
"""

import sqlalchemy as sa
from alembic import op

revision = "3f8a6c2d417e"
down_revision = "7c1d0e5a9b42"


def upgrade() -> None:
    """Build four indexes, and tell how two tables are stored."""
    # CONCURRENTLY works outside of transactions only, so a run that is interrupted leaves some
    # indexes behind, perhaps an invalid one; the next run drops each and builds it anew.
    with op.get_context().autocommit_block():
        op.drop_index(
            op.f("ix_trades_bot_config_id_timestamp_id"),
            if_exists=True,
            postgresql_concurrently=True,
        )
        op.create_index(
            op.f("ix_trades_bot_config_id_timestamp_id"),
            "trades",
            ["bot_config_id", "timestamp", "id"],
            postgresql_concurrently=True,
        )
        op.drop_index(
            op.f("ix_trades_user_id_timestamp_id"),
            if_exists=True,
            postgresql_concurrently=True,
        )
        op.create_index(
            op.f("ix_trades_user_id_timestamp_id"),
            "trades",
            ["user_id", "timestamp", "id"],
            postgresql_include=["symbol", "pnl"],
            postgresql_concurrently=True,
        )
        op.drop_index(
            op.f("ix_bot_configs_active"),
            if_exists=True,
            postgresql_concurrently=True,
        )
        op.create_index(
            op.f("ix_bot_configs_active"),
            "bot_configs",
            ["id"],
            postgresql_where=sa.text("is_active"),
            postgresql_concurrently=True,
        )
        op.drop_index(
            op.f("ix_bot_states_running"),
            if_exists=True,
            postgresql_concurrently=True,
        )
        op.create_index(
            op.f("ix_bot_states_running"),
            "bot_states",
            ["id"],
            postgresql_where=sa.text("status = 'running'"),
            postgresql_concurrently=True,
        )
    # For pages written from now on.
    op.execute("ALTER TABLE bot_states SET (fillfactor = 50)")
    # By default a vacuum comes after a fifth of the table is new: too late for index-only scans
    # of the last days. This one reads the new pages only, so it costs little.
    op.execute(
        "ALTER TABLE trades SET"
        " (autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 10000)"
    )


def downgrade() -> None:
    """Store the two tables as before, and drop the four indexes."""
    op.execute(
        "ALTER TABLE trades RESET"
        " (autovacuum_vacuum_insert_scale_factor, autovacuum_vacuum_insert_threshold)"
    )
    op.execute("ALTER TABLE bot_states RESET (fillfactor)")
    with op.get_context().autocommit_block():
        op.drop_index(
            op.f("ix_bot_states_running"),
            if_exists=True,
            postgresql_concurrently=True,
        )
        op.drop_index(
            op.f("ix_bot_configs_active"),
            if_exists=True,
            postgresql_concurrently=True,
        )
        op.drop_index(
            op.f("ix_trades_user_id_timestamp_id"),
            if_exists=True,
            postgresql_concurrently=True,
        )
        op.drop_index(
            op.f("ix_trades_bot_config_id_timestamp_id"),
            if_exists=True,
            postgresql_concurrently=True,
        )
