"""Validate the order types.

Why: the previous revision has replaced a CHECK without reading the rows, which would have stopped
every write meanwhile. Here they are read while the application works on.
Locks: SHARE UPDATE EXCLUSIVE on trades, while its rows are read.
Old code: works.
Downgrade: keeps all data. The pattern holds for what is written from then on, unproved.
Downgrade locks: ACCESS EXCLUSIVE on trades, for milliseconds.

Revision ID: e72f3d9086bc
Revises: b5e09c7a41d3
Create Date: 2026-11-25 00:01:00+00:00
"""

from alembic import op

revision = "e72f3d9086bc"
down_revision = "b5e09c7a41d3"


def upgrade() -> None:
    """Read the rows."""
    op.execute("ALTER TABLE trades VALIDATE CONSTRAINT ck_trades_order_type_upper_case")


def downgrade() -> None:
    """Add the CHECK anew, as there is no statement to take the proof back."""
    op.execute(
        "-- squawk-ignore ban-drop-constraint\n"
        "ALTER TABLE trades DROP CONSTRAINT ck_trades_order_type_upper_case"
    )
    op.create_check_constraint(
        op.f("ck_trades_order_type_upper_case"),
        "trades",
        "order_type ~ '^[A-Z][A-Z0-9_]*$'",
        postgresql_not_valid=True,
    )
