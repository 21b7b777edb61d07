"""Operations that are dangerous for a live database, with the safe forms in docs/recipes.md."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Operation:
    """An operation, in its dangerous form and in its safe one."""

    title: str
    shown: str
    """The dangerous form, as shown in the table."""
    dangerous: str
    """The body of ``upgrade()``; empty: there is only the safe form."""
    safe: str
    """Section of the guide with the safe form."""
    deployed_without: frozenset[str] = frozenset()
    """Tables and columns that the application no longer uses when the safe form runs."""


OPERATIONS = [
    Operation(
        "add a NOT NULL column",
        "`ADD COLUMN tag uuid NOT NULL DEFAULT gen_random_uuid()`",
        'op.execute("ALTER TABLE trades ADD COLUMN tag uuid NOT NULL DEFAULT gen_random_uuid()")',
        "Add a NOT NULL column whose values differ",
    ),
    Operation(
        "add a NOT NULL column with one value",
        "",
        "",
        "Add a NOT NULL column with a constant default",
    ),
    Operation(
        "set NOT NULL",
        "`SET NOT NULL`",
        'op.execute("ALTER TABLE trades ALTER COLUMN commission_asset SET NOT NULL")',
        "Make a column NOT NULL",
    ),
    Operation(
        "rename a column",
        "`RENAME COLUMN`",
        'op.alter_column("trades", "pnl", new_column_name="profit")',
        "Change a column's type or name: expand and contract",
    ),
    Operation(
        "change a type",
        "`ALTER COLUMN ... TYPE bigint`",
        'op.alter_column("trades", "id", type_=sa.BigInteger())',
        "Change a column's type or name: expand and contract",
    ),
    Operation("widen a varchar", "", "", "Widen a varchar"),
    Operation(
        "add an index",
        "`CREATE INDEX`",
        'op.execute("CREATE INDEX ix_trades_symbol ON trades (symbol)")',
        "Add an index",
    ),
    Operation(
        "add UNIQUE",
        "`ADD CONSTRAINT ... UNIQUE`",
        'op.execute("ALTER TABLE trades ADD CONSTRAINT uq UNIQUE (id, user_id)")',
        "Add a unique constraint",
    ),
    Operation(
        "add a foreign key",
        "`ADD CONSTRAINT ... FOREIGN KEY`",
        'op.create_foreign_key("fk", "trades", "users", ["user_id"], ["id"])',
        "Add a foreign key",
    ),
    Operation(
        "add or change a CHECK",
        "`ADD CONSTRAINT ... CHECK`",
        'op.execute("ALTER TABLE trades ADD CONSTRAINT ck CHECK (price >= 0)")',
        "Add or change a CHECK",
    ),
    Operation(
        "change many rows",
        "`UPDATE` of all rows, each of which stays locked until the end",
        'op.execute("UPDATE bot_states SET last_error_message = NULL")',
        "Change many rows",
    ),
    Operation(
        "drop an index",
        "`DROP INDEX`",
        'op.execute("DROP INDEX ix_trades_user_id")',
        "Drop an index",
    ),
    Operation(
        "drop a column",
        "`DROP COLUMN` before the new code is deployed",
        'op.execute("ALTER TABLE trades DROP COLUMN commission_asset")',
        "Drop a column",
        frozenset({"trades.commission_asset"}),
    ),
    Operation(
        "drop a table",
        "`DROP TABLE` with its foreign keys",
        'op.execute("DROP TABLE trades")',
        "Drop a table",
        frozenset({"trades"}),
    ),
]

Effect = list[str]
"""The effects of a form: its locks, and the outcome for the application."""
Effects = dict[str, dict[str, Effect]]
"""By ``dangerous`` and the operation's title, and by ``safe`` and the section's."""
