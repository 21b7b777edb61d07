"""Create the copies of books, and their loans.

Why: members borrow copies.
Locks: SHARE ROW EXCLUSIVE on book, branch and "user", for milliseconds.
Old code: works.
Downgrade: loses lending.copy, lending.loan, lending.fee.
Downgrade locks: ACCESS EXCLUSIVE on book, branch and "user", for milliseconds.

Revision ID: lending
Revises: members
Create Date: 2026-01-03 00:00:00+00:00
"""

import sqlalchemy as sa
from alembic import op

revision = "lending"
down_revision = "members"


def upgrade() -> None:
    """Create the schema with three tables and a view. A copy refers to its loan."""
    op.execute("CREATE SCHEMA lending")
    op.create_table(
        "copy",
        sa.Column("book_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.SmallInteger(), nullable=False),
        sa.Column("branch_id", sa.SmallInteger(), nullable=False),
        sa.Column("loan_id", sa.BigInteger(), comment="NULL: not lent."),
        sa.PrimaryKeyConstraint("book_id", "number", name=op.f("pk_copy")),
        sa.UniqueConstraint("loan_id", name=op.f("uq_copy_loan_id")),
        sa.ForeignKeyConstraint(["book_id"], ["book.id"], name=op.f("fk_copy_book_id")),
        sa.ForeignKeyConstraint(["branch_id"], ["branch.id"], name=op.f("fk_copy_branch_id")),
        schema="lending",
    )
    op.create_table(
        "loan",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("book_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.SmallInteger(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "lent_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()
        ),
        sa.Column("returned_at", sa.DateTime(timezone=True)),
        sa.Column("note", sa.Text()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_loan")),
        sa.ForeignKeyConstraint(
            ["book_id", "number"],
            ["lending.copy.book_id", "lending.copy.number"],
            name=op.f("fk_loan_book_id_number"),
        ),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name=op.f("fk_loan_user_id")),
        sa.CheckConstraint("returned_at >= lent_at", name=op.f("ck_loan_returned_later")),
        schema="lending",
    )
    op.create_foreign_key(
        op.f("fk_copy_loan_id"),
        "copy",
        "loan",
        ["loan_id"],
        ["id"],
        ondelete="SET NULL",
        source_schema="lending",
        referent_schema="lending",
    )
    op.create_table(
        "fee",
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("amount", sa.Numeric(8, 2), nullable=False),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_fee")),
        schema="lending",
    )
    op.create_index(
        op.f("ix_loan_user_id_lent_at"), "loan", ["user_id", "lent_at"], schema="lending"
    )
    op.execute(
        "CREATE VIEW lending.open_loan AS"
        " SELECT id, book_id, number, user_id FROM lending.loan WHERE returned_at IS NULL"
    )


def downgrade() -> None:
    """Drop the schema with all that is in it."""
    op.execute("DROP SCHEMA lending CASCADE")
