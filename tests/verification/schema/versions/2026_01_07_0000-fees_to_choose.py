"""Offer two fees.

Why: a clerk chooses one of them.
Locks: ROW EXCLUSIVE on lending.fee, while rows change.
Old code: works.
Upgrade: changes lending.fee.
Downgrade: keeps all data.

Revision ID: fees
Revises: indexes
Create Date: 2026-01-07 00:00:00+00:00
"""

from alembic import op

revision = "fees"
down_revision = "indexes"


def upgrade() -> None:
    """Insert two rows."""
    op.execute("INSERT INTO lending.fee (code, amount) VALUES ('late', 1), ('lost', 25)")


def downgrade() -> None:
    """Delete the two rows."""
    op.execute("DELETE FROM lending.fee WHERE code IN ('late', 'lost')")
