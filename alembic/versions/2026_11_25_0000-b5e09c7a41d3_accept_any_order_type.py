"""Accept any order type.

Why: a fill is a financial record, and must not be refused because the exchange has added an order
type. The closed list becomes a pattern, an upper-case word, which every row matches already; the
next revision proves it.
Locks: ACCESS EXCLUSIVE on trades, for milliseconds. No row is read.
Old code: works.
Downgrade: keeps all data. The closed list is back for what is written from then on. It is
validated in a transaction of its own (SHARE UPDATE EXCLUSIVE on trades, while its rows are read),
and only if all rows pass: where trades hold an order type that is not listed, it stays NOT VALID,
and those rows can be read but not updated until it is upgraded again.

Revision ID: b5e09c7a41d3
Revises: 3f8a6c2d417e
Create Date: 2026-11-25 00:00:00+00:00
"""

from alembic import op

revision = "b5e09c7a41d3"
down_revision = "3f8a6c2d417e"


def upgrade() -> None:
    """Put the pattern in place of the list."""
    op.create_check_constraint(
        op.f("ck_trades_order_type_upper_case"),
        "trades",
        "order_type ~ '^[A-Z][A-Z0-9_]*$'",
        postgresql_not_valid=True,
    )
    op.execute(
        "-- squawk-ignore ban-drop-constraint\n"
        "ALTER TABLE trades DROP CONSTRAINT ck_trades_order_type_known"
    )


def downgrade() -> None:
    """Put the list in place of the pattern."""
    # IF EXISTS: the block below commits, so a run that is interrupted there is run again.
    op.execute(
        "-- squawk-ignore ban-drop-constraint\n"
        "ALTER TABLE trades DROP CONSTRAINT IF EXISTS ck_trades_order_type_known"
    )
    op.create_check_constraint(
        op.f("ck_trades_order_type_known"),
        "trades",
        "order_type IN ('LIMIT', 'MARKET', 'STOP_LOSS', 'STOP_LOSS_LIMIT', 'TAKE_PROFIT',"
        " 'TAKE_PROFIT_LIMIT', 'LIMIT_MAKER')",
        postgresql_not_valid=True,
    )
    op.execute(
        "-- squawk-ignore ban-drop-constraint\n"
        "ALTER TABLE trades DROP CONSTRAINT IF EXISTS ck_trades_order_type_upper_case"
    )
    # In a transaction of its own: above, nobody can read the table.
    with op.get_context().autocommit_block():
        op.execute(
            "DO 'BEGIN"
            " ALTER TABLE trades VALIDATE CONSTRAINT ck_trades_order_type_known;"
            " EXCEPTION WHEN check_violation THEN"
            " RAISE WARNING ''ck_trades_order_type_known stays NOT VALID'';"
            " END'"
        )
