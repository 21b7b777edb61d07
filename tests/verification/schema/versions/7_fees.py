"""Charge two fees, and refuse empty notes.

Why: a clerk chooses one of the fees, and an empty note looks like a lost one.
Locks: ACCESS EXCLUSIVE on lending.loan, for milliseconds: no row is read; ROW EXCLUSIVE on
lending.fee, for milliseconds.
Old code: breaks: insert into lending.loan, update lending.loan.note.
Downgrade: keeps all data.

Revision ID: fees
Revises: indexes
Create Date: 2026-01-07 00:00:00+00:00
"""

from alembic import op

revision = "fees"
down_revision = "indexes"


def upgrade() -> None:
    """Add two rows, and a CHECK of new rows."""
    op.execute("INSERT INTO lending.fee (code, amount) VALUES ('late', 1), ('lost', 25)")
    op.create_check_constraint(
        op.f("ck_loan_note_not_empty"),
        "loan",
        "note <> ''",
        schema="lending",
        postgresql_not_valid=True,
    )


def downgrade() -> None:
    """Drop the CHECK, and delete the two rows."""
    op.drop_constraint(op.f("ck_loan_note_not_empty"), "loan", schema="lending")
    op.execute("DELETE FROM lending.fee WHERE code IN ('late', 'lost')")
