"""Count the visits.

Why: a branch opens longer where more people come.
Locks: SHARE ROW EXCLUSIVE on branch, for milliseconds.
Old code: works.
Downgrade: loses lending.visit.
Downgrade locks: ACCESS EXCLUSIVE on branch, lending.visit_2026 and lending.visit_other, for
milliseconds.

Revision ID: visits
Revises: lending
Create Date: 2026-01-04 00:01:00+00:00
"""

import sqlalchemy as sa
from alembic import op

revision = "visits"
down_revision = "lending"


def upgrade() -> None:
    """Create the table, with a partition for this year and one for all others."""
    op.create_table(
        "visit",
        sa.Column("id", sa.Uuid(), nullable=False, server_default=sa.func.gen_random_uuid()),
        sa.Column(
            "visited_at",
            sa.DateTime(timezone=True),
            nullable=False,
            server_default=sa.func.now(),
        ),
        sa.Column("branch_id", sa.SmallInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", "visited_at", name=op.f("pk_visit")),
        sa.ForeignKeyConstraint(["branch_id"], ["branch.id"], name=op.f("fk_visit_branch_id")),
        schema="lending",
        postgresql_partition_by="RANGE (visited_at)",
    )
    op.execute(
        "CREATE TABLE lending.visit_2026 PARTITION OF lending.visit"
        " FOR VALUES FROM ('2026-01-01 00:00+00') TO ('2027-01-01 00:00+00')"
    )
    op.execute("CREATE TABLE lending.visit_other PARTITION OF lending.visit DEFAULT")


def downgrade() -> None:
    """Drop the table with its partitions."""
    op.drop_table("visit", schema="lending")
