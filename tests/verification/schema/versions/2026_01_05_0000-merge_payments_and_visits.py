"""Merge the payments and the visits.

Why: two branches of the history landed at the same time.
Locks: none.
Old code: works.
Downgrade: keeps all data.

Revision ID: merge
Revises: payments, visits
Create Date: 2026-01-05 00:00:00+00:00
"""

revision = "merge"
down_revision = ("payments", "visits")


def upgrade() -> None:
    """Do nothing."""


def downgrade() -> None:
    """Do nothing."""
