"""Validate the CHECK of notes.

Why: the rows that were there before have not been read yet.
Locks: SHARE UPDATE EXCLUSIVE on lending.loan, while its rows are read.
Old code: works.
Downgrade: keeps all data.
Downgrade locks: ACCESS EXCLUSIVE on lending.loan, for milliseconds.

Revision ID: checked
Revises: notes
Create Date: 2026-01-09 00:00:00+00:00
"""

from alembic import op

revision = "checked"
down_revision = "notes"


def upgrade() -> None:
    """Read the rows."""
    op.execute("ALTER TABLE lending.loan VALIDATE CONSTRAINT ck_loan_note_not_empty")


def downgrade() -> None:
    """Add the CHECK again, as not valid."""
    op.drop_constraint(op.f("ck_loan_note_not_empty"), "loan", schema="lending")
    op.create_check_constraint(
        op.f("ck_loan_note_not_empty"),
        "loan",
        "note <> ''",
        schema="lending",
        postgresql_not_valid=True,
    )
