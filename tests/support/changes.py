"""Schema changes, to measure the effect of each on the code of the previous revision.

They are applied to a database at the head revision, with rows.
"""

from dataclasses import dataclass

from sqlalchemy import text

from verification import databases


@dataclass(frozen=True)
class Change:
    """A schema change, in SQL."""

    kind: str
    title: str
    sql: str

    def __str__(self) -> str:
        """Return the kind and the title."""
        return f"{self.kind}: {self.title}"


TRIGGER = """
CREATE FUNCTION on_change() RETURNS trigger LANGUAGE plpgsql AS
    $$BEGIN {body} RETURN new; END$$;
CREATE TRIGGER on_change BEFORE {event} ON {table} FOR EACH ROW EXECUTE FUNCTION on_change()
"""
TIMEFRAMES = "'1m', '5m', '15m', '1h', '4h', '1d'"

CHANGES = [
    Change(kind, title, sql)
    for kind, changes in {
        "Columns": {
            "add a column that may be NULL": "ALTER TABLE users ADD COLUMN locale text",
            "add a NOT NULL column with a default": "ALTER TABLE users"
            " ADD COLUMN locale text DEFAULT 'en' NOT NULL",
            "add a NOT NULL column without a default": "ALTER TABLE users"
            " ADD COLUMN locale text NOT NULL",
            "add a NOT NULL column, then drop its default": "ALTER TABLE users"
            " ADD COLUMN locale text DEFAULT 'en' NOT NULL;"
            " ALTER TABLE users ALTER COLUMN locale DROP DEFAULT",
            "add a generated column": "ALTER TABLE trades ADD COLUMN fee_free boolean"
            " GENERATED ALWAYS AS (commission_amount IS NULL) STORED",
            "drop a column": "ALTER TABLE api_keys DROP COLUMN label",
            "rename a column": "ALTER TABLE trades RENAME COLUMN pnl TO profit",
            "drop a column and add it again": "ALTER TABLE api_keys DROP COLUMN label;"
            " ALTER TABLE api_keys ADD COLUMN label varchar(100)",
            "set NOT NULL": "ALTER TABLE api_keys ALTER COLUMN label SET NOT NULL",
            "drop NOT NULL": "ALTER TABLE bot_configs ALTER COLUMN name DROP NOT NULL",
        },
        "Types": {
            "widen a varchar": "ALTER TABLE users ALTER COLUMN hashed_password TYPE varchar(512)",
            "varchar to text": "ALTER TABLE users ALTER COLUMN hashed_password TYPE text",
            "narrow a varchar": "ALTER TABLE users ALTER COLUMN hashed_password TYPE varchar(100)"
            " USING left(hashed_password, 100)",
            "integer to bigint": "ALTER TABLE bot_states"
            " ALTER COLUMN daily_trades_count TYPE bigint",
            "integer to smallint": "ALTER TABLE bot_configs ALTER COLUMN rsi_period TYPE smallint"
            " USING least(rsi_period, 32767)",
            "more decimals": "ALTER TABLE bot_configs ALTER COLUMN stop_loss_perc"
            " TYPE numeric(14, 8)",
            "fewer decimals": "ALTER TABLE trades ALTER COLUMN price TYPE numeric(28, 8)",
            "numeric to double precision": "ALTER TABLE trades"
            " ALTER COLUMN price TYPE double precision",
            "timestamptz to timestamp": "ALTER TABLE trades ALTER COLUMN timestamp TYPE timestamp",
            "varchar to an enum type": "CREATE TYPE side AS ENUM ('BUY', 'SELL');"
            " ALTER TABLE trades DROP CONSTRAINT ck_trades_side_known,"
            " ALTER COLUMN side TYPE side USING side::side",
            "text to jsonb": "ALTER TABLE bot_states ALTER COLUMN last_error_message TYPE jsonb"
            " USING to_jsonb(last_error_message)",
        },
        "Defaults": {
            "change a default": "ALTER TABLE bot_configs"
            " ALTER COLUMN check_interval_seconds SET DEFAULT 30",
            "add a default": "ALTER TABLE bot_configs ALTER COLUMN name SET DEFAULT 'bot'",
            "drop the default of a NOT NULL column": "ALTER TABLE bot_states"
            " ALTER COLUMN status DROP DEFAULT",
            "generate an identity always": "ALTER TABLE trades"
            " ALTER COLUMN id SET GENERATED ALWAYS",
            "start an identity again": "ALTER TABLE trades ALTER COLUMN id RESTART",
        },
        "Constraints": {
            "widen a CHECK": "ALTER TABLE trades DROP CONSTRAINT ck_trades_side_known,"
            " ADD CONSTRAINT ck_trades_side_known CHECK (side IN ('BUY', 'SELL', 'SWAP'))",
            "tighten a CHECK": "ALTER TABLE bot_configs"
            " DROP CONSTRAINT ck_bot_configs_timeframe_known,"
            f" ADD CONSTRAINT ck_bot_configs_timeframe_known CHECK (timeframe IN ({TIMEFRAMES}))",
            "tighten a CHECK, NOT VALID": "ALTER TABLE bot_configs"
            " DROP CONSTRAINT ck_bot_configs_timeframe_known,"
            " ADD CONSTRAINT ck_bot_configs_timeframe_known"
            f" CHECK (timeframe IN ({TIMEFRAMES})) NOT VALID",
            "add a CHECK that existing rows fulfil": "ALTER TABLE trades"
            " ADD CONSTRAINT c CHECK (price > -1)",
            "drop a CHECK": "ALTER TABLE trades DROP CONSTRAINT ck_trades_price_non_negative",
            "add a unique key": "ALTER TABLE bot_configs ADD UNIQUE (user_id, name)",
            "add a unique index without regard to case": "CREATE UNIQUE INDEX i"
            " ON users (lower(email))",
            "drop a unique key": "ALTER TABLE trades DROP CONSTRAINT uq_trades_binance_order_id",
            "add a foreign key": "CREATE TABLE markets (symbol varchar(64) PRIMARY KEY);"
            " ALTER TABLE trades ADD FOREIGN KEY (symbol) REFERENCES markets NOT VALID",
            "drop a foreign key that cascades": "ALTER TABLE api_keys"
            " DROP CONSTRAINT fk_api_keys_user_id_users",
            "a foreign key restricts instead of cascading": "ALTER TABLE api_keys"
            " DROP CONSTRAINT fk_api_keys_user_id_users, ADD CONSTRAINT fk_api_keys_user_id_users"
            " FOREIGN KEY (user_id) REFERENCES users ON DELETE RESTRICT",
            "make a foreign key deferrable": "ALTER TABLE api_keys ALTER CONSTRAINT"
            " fk_api_keys_user_id_users DEFERRABLE INITIALLY DEFERRED",
            "add an exclusion constraint": "ALTER TABLE bot_configs"
            " ADD EXCLUDE USING btree (name WITH =)",
        },
        "Tables": {
            "add a table": "CREATE TABLE notes (id integer PRIMARY KEY, note text)",
            "add a table that references an existing one": "CREATE TABLE notes"
            " (id integer PRIMARY KEY, user_id integer REFERENCES users)",
            "drop a table": "DROP TABLE api_keys",
            "rename a table": "ALTER TABLE api_keys RENAME TO keys",
            "rename a table, with a view of the old name": "ALTER TABLE api_keys RENAME TO keys;"
            " CREATE VIEW api_keys AS SELECT * FROM keys;"
            " GRANT SELECT, INSERT, UPDATE, DELETE ON api_keys TO {app}",
            "change how a table is stored": "ALTER TABLE trades SET (fillfactor = 90)",
            "change comments": "COMMENT ON TABLE trades IS 'Orders.';"
            " COMMENT ON COLUMN trades.pnl IS 'Profit.'",
        },
        "Indexes": {
            "add an index": "CREATE INDEX i ON trades (symbol)",
            "add an index of long texts": "CREATE INDEX i ON api_keys (encrypted_api_key)",
            "drop an index that no hot query uses": "DROP INDEX ix_trades_user_id",
            "drop an index that a hot query uses": "DROP INDEX ix_trades_user_id_timestamp_id",
            "replace an index that a hot query uses": "DROP INDEX ix_trades_user_id_timestamp_id;"
            " CREATE INDEX ix_trades_user_id_timestamp_id ON trades (user_id, symbol)",
            "rename an index": "ALTER INDEX ix_users_email RENAME TO i",
        },
        "Triggers": {
            "add a trigger that records the time of a change": TRIGGER.format(
                body="new.updated_at := now();", event="UPDATE", table="users"
            ),
            "add a trigger that refuses a change": TRIGGER.format(
                body="IF new.symbol <> old.symbol THEN RAISE 'The symbol is fixed.'; END IF;",
                event="UPDATE",
                table="bot_configs",
            ),
            "add a trigger that changes what is written": TRIGGER.format(
                body="new.email := lower(new.email);", event="INSERT OR UPDATE", table="users"
            ),
        },
        "Privileges": {
            "revoke UPDATE": "REVOKE UPDATE ON trades FROM {app}",
            "revoke DELETE": "REVOKE DELETE ON trades FROM {app}",
            "grant SELECT to another role": "GRANT SELECT ON trades TO pg_monitor",
            "enable row-level security": "ALTER TABLE trades ENABLE ROW LEVEL SECURITY",
        },
        "Rows": {
            "add rows": "INSERT INTO users (email, hashed_password) VALUES ('system', '')",
            "fill a column": "UPDATE api_keys SET label = 'Key' WHERE label IS NULL",
        },
    }.items()
    for title, sql in changes.items()
]
"""Changes by kind."""


def apply(url: str, change: Change, app: str) -> None:
    """Apply a change to a database in one transaction, as a revision would."""
    with databases.sync_engine(url).begin() as connection:
        connection.execute(text(change.sql.format(app=app)))
