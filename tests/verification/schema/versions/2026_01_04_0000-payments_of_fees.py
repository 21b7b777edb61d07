"""Create the payments, to which rows are only added.

Why: fees are paid, and an auditor reads the payments.
Locks: SHARE ROW EXCLUSIVE on "user", for milliseconds.
Old code: works.
Downgrade: loses lending.payment.
Downgrade locks: ACCESS EXCLUSIVE on "user", for milliseconds.

Revision ID: payments
Revises: lending
Create Date: 2026-01-04 00:00:00+00:00
"""

import sqlalchemy as sa
from alembic import op

revision = "payments"
down_revision = "lending"


def upgrade() -> None:
    """Create the table, with a trigger that refuses every other change."""
    op.create_table(
        "payment",
        sa.Column("id", sa.Uuid(), nullable=False, server_default=sa.func.gen_random_uuid()),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("amount", sa.Numeric(12, 2), nullable=False),
        sa.Column(
            "paid_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payment")),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name=op.f("fk_payment_user_id")),
        sa.CheckConstraint("amount > 0", name=op.f("ck_payment_amount_positive")),
        schema="lending",
    )
    op.create_index(op.f("ix_payment_user_id"), "payment", ["user_id"], schema="lending")
    op.execute(
        "CREATE FUNCTION lending.refuse() RETURNS trigger LANGUAGE plpgsql"
        " AS $$BEGIN RAISE EXCEPTION 'payments are only added'; END$$"
    )
    op.execute(
        "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON lending.payment"
        " FOR EACH ROW EXECUTE FUNCTION lending.refuse()"
    )


def downgrade() -> None:
    """Drop the table and the function."""
    op.drop_table("payment", schema="lending")
    op.execute("DROP FUNCTION lending.refuse()")
