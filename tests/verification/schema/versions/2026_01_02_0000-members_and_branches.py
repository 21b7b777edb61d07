"""Create the members, the branches and their staff.

Why: a member borrows books at a branch, or suggests one.
Locks: none. The tables are new.
Old code: works.
Downgrade: loses "user", branch, staff, suggestion.

Revision ID: members
Revises: catalogue
Create Date: 2026-01-02 00:00:00+00:00
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql as pg

revision = "members"
down_revision = "catalogue"


def upgrade() -> None:
    """Create four tables. A branch and its manager refer to each other."""
    op.create_table(
        "user",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("email", sa.String(320), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("referred_by", sa.BigInteger()),
        sa.Column(
            "joined_at",
            sa.DateTime(timezone=True),
            nullable=False,
            server_default=sa.func.now(),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_user")),
        sa.UniqueConstraint("email", name=op.f("uq_user_email")),
        sa.ForeignKeyConstraint(
            ["referred_by"], ["user.id"], name=op.f("fk_user_referred_by"), ondelete="SET NULL"
        ),
        sa.CheckConstraint("email ~ '^[^@ ]+@[^@ ]+$'", name=op.f("ck_user_email_form")),
    )
    op.create_table(
        "branch",
        sa.Column("id", sa.SmallInteger(), sa.Identity(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("main_id", sa.SmallInteger(), nullable=False, comment="The main one: itself."),
        sa.Column("manager_id", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_branch")),
        sa.UniqueConstraint("name", name=op.f("uq_branch_name")),
        sa.ForeignKeyConstraint(["main_id"], ["branch.id"], name=op.f("fk_branch_main_id")),
    )
    op.create_table(
        "staff",
        sa.Column("id", sa.Integer(), sa.Identity(), nullable=False),
        sa.Column("branch_id", sa.SmallInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("nickname", sa.String(50)),
        sa.Column("wage", sa.Numeric(8, 2), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_staff")),
        sa.CheckConstraint("wage > 0", name=op.f("ck_staff_wage_positive")),
        sa.ForeignKeyConstraint(["branch_id"], ["branch.id"], name=op.f("fk_staff_branch_id")),
    )
    op.create_foreign_key(
        op.f("fk_branch_manager_id"),
        "branch",
        "staff",
        ["manager_id"],
        ["id"],
        deferrable=True,
        initially="DEFERRED",
    )
    op.create_table(
        "suggestion",
        sa.Column("title", sa.Text()),
        sa.Column("wishes", pg.JSONB()),
        sa.Column("tags", pg.ARRAY(sa.Text())),
        sa.Column("sender", pg.INET()),
        sa.Column("patience", pg.INTERVAL()),
        sa.Column("day", sa.Date()),
        sa.Column("hour", sa.Time()),
        sa.Column("scan", sa.LargeBinary()),
        sa.Column("years", pg.INT4RANGE()),
        sa.Column("urgency", sa.Double()),
    )


def downgrade() -> None:
    """Drop the tables."""
    op.drop_table("suggestion")
    op.drop_constraint(op.f("fk_branch_manager_id"), "branch")
    for table in ("staff", "branch", "user"):
        op.drop_table(table)
