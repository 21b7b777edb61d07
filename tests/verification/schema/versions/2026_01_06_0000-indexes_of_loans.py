"""Index the open loans and the words of titles.

Why: a copy is lent to one member at a time, and readers search for words.
Locks: SHARE UPDATE EXCLUSIVE on lending.loan and book, while their rows are read.
Old code: breaks: insert into lending.loan, rows of lending.loan, update
lending.loan.returned_at.
Downgrade: keeps all data.

Revision ID: indexes
Revises: merge
Create Date: 2026-01-06 00:00:00+00:00
"""

import sqlalchemy as sa
from alembic import op

revision = "indexes"
down_revision = "merge"


def upgrade() -> None:
    """Build two indexes."""
    with op.get_context().autocommit_block():
        op.drop_index(
            op.f("uq_loan_open"),
            schema="lending",
            if_exists=True,
            postgresql_concurrently=True,
        )
        op.create_index(
            op.f("uq_loan_open"),
            "loan",
            ["book_id", "number"],
            schema="lending",
            unique=True,
            postgresql_where=sa.text("returned_at IS NULL"),
            postgresql_concurrently=True,
        )
        op.drop_index(op.f("ix_book_search"), if_exists=True, postgresql_concurrently=True)
        op.create_index(
            op.f("ix_book_search"),
            "book",
            [sa.text("to_tsvector('simple', title)")],
            postgresql_using="gin",
            postgresql_concurrently=True,
        )


def downgrade() -> None:
    """Drop the two indexes."""
    with op.get_context().autocommit_block():
        op.drop_index(op.f("ix_book_search"), if_exists=True, postgresql_concurrently=True)
        op.drop_index(
            op.f("uq_loan_open"), schema="lending", if_exists=True, postgresql_concurrently=True
        )
