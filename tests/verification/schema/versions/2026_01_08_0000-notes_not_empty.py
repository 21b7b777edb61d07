"""Refuse empty notes.

Why: an empty note looks like a lost one.
Locks: ACCESS EXCLUSIVE on lending.loan, for milliseconds. No row is read.
Old code: breaks: insert into lending.loan, rows of lending.loan, update lending.loan.note.
Downgrade: keeps all data.

Revision ID: notes
Revises: fees
Create Date: 2026-01-08 00:00:00+00:00
"""

from alembic import op

revision = "notes"
down_revision = "fees"


def upgrade() -> None:
    """Add a CHECK of new rows."""
    op.create_check_constraint(
        op.f("ck_loan_note_not_empty"),
        "loan",
        "note <> ''",
        schema="lending",
        postgresql_not_valid=True,
    )


def downgrade() -> None:
    """Drop the CHECK."""
    op.drop_constraint(op.f("ck_loan_note_not_empty"), "loan", schema="lending")
