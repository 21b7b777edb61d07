"""Mutations by which a database drifts from the models, and changes that are not drift.

``docs/conformance.md`` shows which of them ``alembic check``, pytest-alembic and the conformance
check of this project report (``python -m tools.document mutation-table``).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import psycopg


@dataclass(frozen=True)
class Mutation:
    """A change of a database at the head revision."""

    kind: str
    title: str
    sql: str
    since: int = 15
    """The first release of PostgreSQL that supports it."""

    def __str__(self) -> str:
        """Return a name for reports."""
        return f"{self.kind}: {self.title}"


DRIFT: dict[str, dict[str, str | tuple[str, int]]] = {
    "tables": {
        "a table is missing": "DROP TABLE api_keys",
        "a table has another name": "ALTER TABLE trades RENAME TO orders",
        "an unknown table": "CREATE TABLE candles (id integer PRIMARY KEY)",
        "an unknown partitioned table": (
            "CREATE TABLE candles (id integer) PARTITION BY RANGE (id)"
        ),
        "a table is in another schema": "CREATE SCHEMA app; ALTER TABLE trades SET SCHEMA app",
        "a table is unlogged": "ALTER TABLE bot_states SET UNLOGGED",
        "a table has a child": "CREATE TABLE trades_2026 () INHERITS (trades)",
        "a table has a parent": (
            "CREATE TABLE keyed (id integer NOT NULL); ALTER TABLE users INHERIT keyed"
        ),
        "a typed table": (
            "CREATE TYPE version AS (version_num varchar(32));"
            "ALTER TABLE alembic_version OF version"
        ),
    },
    "columns": {
        "a column is missing": "ALTER TABLE api_keys DROP label",
        "a NOT NULL column is missing": "ALTER TABLE bot_configs DROP trailing_stop_active",
        "a column has another name": "ALTER TABLE users RENAME hashed_password TO password",
        "an unknown column": "ALTER TABLE users ADD nickname text",
        "an unknown column, filled in every row": (
            "ALTER TABLE trades ADD maker boolean NOT NULL DEFAULT false"
        ),
        "another order of columns": (
            "ALTER TABLE api_keys DROP label; ALTER TABLE api_keys ADD label varchar(100);"
            "COMMENT ON COLUMN api_keys.label IS"
            " 'The owner''s name for the key, such as My Main Binance Account.'"
        ),
        "numeric with a smaller scale": "ALTER TABLE trades ALTER price TYPE numeric(38, 8)",
        "numeric with precision and scale swapped": (
            "ALTER TABLE bot_configs ALTER initial_capital TYPE numeric(36, 18)"
        ),
        "numeric without precision": "ALTER TABLE trades ALTER quantity_filled TYPE numeric",
        "a percentage with the scale of money": (
            "ALTER TABLE bot_configs ALTER stop_loss_perc TYPE numeric(38, 18)"
        ),
        "double precision for money": (
            "ALTER TABLE bot_states ALTER entry_price TYPE double precision"
        ),
        "a longer varchar": "ALTER TABLE users ALTER email TYPE varchar(321)",
        "a shorter varchar": "ALTER TABLE bot_configs ALTER name TYPE varchar(99)",
        "varchar without a length": "ALTER TABLE trades ALTER commission_asset TYPE varchar",
        "varchar instead of text": (
            "ALTER TABLE api_keys ALTER encrypted_api_key TYPE varchar(10000)"
        ),
        "text instead of varchar": "ALTER TABLE bot_configs ALTER symbol TYPE text",
        "char instead of varchar": "ALTER TABLE trades ALTER side TYPE char(4)",
        "bigint instead of integer": "ALTER TABLE trades ALTER id TYPE bigint",
        "smallint instead of integer": "ALTER TABLE bot_configs ALTER ema_fast TYPE smallint",
        "a timestamp without time zone": (
            "ALTER TABLE trades ALTER timestamp TYPE timestamp without time zone"
        ),
        "a timestamp rounded to seconds": (
            "ALTER TABLE bot_states ALTER last_run_at TYPE timestamp(0) with time zone"
        ),
        "an array": "ALTER TABLE bot_states ALTER last_error_message TYPE text[] USING NULL",
        "another collation": 'ALTER TABLE users ALTER email TYPE varchar(320) COLLATE "C"',
        "a column became nullable": "ALTER TABLE trades ALTER price DROP NOT NULL",
        "a timestamp became nullable": "ALTER TABLE users ALTER updated_at DROP NOT NULL",
        "a column became NOT NULL": "ALTER TABLE trades ALTER binance_order_id SET NOT NULL",
        "a NOT NULL constraint has another name": (
            "ALTER TABLE trades RENAME CONSTRAINT trades_price_not_null TO price_present",
            18,
        ),
        "NOT NULL does not hold for children": (
            "ALTER TABLE bot_states ALTER status DROP NOT NULL;"
            "ALTER TABLE bot_states ADD NOT NULL status NO INHERIT",
            18,
        ),
        "NOT NULL is not validated": (
            "ALTER TABLE api_keys ADD CONSTRAINT labelled NOT NULL label NOT VALID",
            18,
        ),
        "NOT NULL is not enforced": (
            "SET allow_system_table_mods = on; UPDATE pg_attribute SET attnotnull = false"
            " WHERE attrelid = 'users'::regclass AND attname = 'email'"
        ),
        "a generated column": (
            "ALTER TABLE trades DROP quote_quantity_filled; ALTER TABLE trades"
            " ADD quote_quantity_filled numeric(38, 18)"
            " GENERATED ALWAYS AS (price * quantity_filled) STORED"
        ),
        "a virtual column": (
            "ALTER TABLE trades ADD notional numeric GENERATED ALWAYS AS (price * 2) VIRTUAL",
            18,
        ),
        "another storage": "ALTER TABLE api_keys ALTER encrypted_api_key SET STORAGE EXTERNAL",
        "another compression": (
            "ALTER TABLE bot_states ALTER last_error_message SET COMPRESSION pglz"
        ),
        "a statistics target": "ALTER TABLE trades ALTER symbol SET STATISTICS 1000",
        "a number of distinct values": "ALTER TABLE trades ALTER side SET (n_distinct = 2)",
    },
    "defaults": {
        "a default is missing": "ALTER TABLE users ALTER is_active DROP DEFAULT",
        "a timestamp has no default": "ALTER TABLE trades ALTER timestamp DROP DEFAULT",
        "a boolean default is inverted": "ALTER TABLE users ALTER is_active SET DEFAULT false",
        "bots are active by default": "ALTER TABLE bot_configs ALTER is_active SET DEFAULT true",
        "another number": "ALTER TABLE bot_configs ALTER check_interval_seconds SET DEFAULT 6",
        "another text": "ALTER TABLE bot_states ALTER status SET DEFAULT 'running'",
        "clock_timestamp() instead of now()": (
            "ALTER TABLE api_keys ALTER created_at SET DEFAULT clock_timestamp()"
        ),
        "a default where there is none": "ALTER TABLE trades ALTER pnl SET DEFAULT 0",
        "a constant as the time": (
            "ALTER TABLE bot_states ALTER last_updated_at SET DEFAULT '2026-01-01 00:00+00'"
        ),
    },
    "identity and sequences": {
        "no identity": "ALTER TABLE trades ALTER id DROP IDENTITY",
        "GENERATED ALWAYS": "ALTER TABLE users ALTER id SET GENERATED ALWAYS",
        "a separate sequence instead of an identity": (
            "ALTER TABLE api_keys ALTER id DROP IDENTITY; CREATE SEQUENCE api_keys_id_seq"
            " AS integer OWNED BY api_keys.id;"
            "ALTER TABLE api_keys ALTER id SET DEFAULT nextval('api_keys_id_seq')"
        ),
        "an identity on the id of bot states": (
            "ALTER TABLE bot_states ALTER id ADD GENERATED BY DEFAULT AS IDENTITY"
        ),
        "another increment": "ALTER SEQUENCE trades_id_seq INCREMENT 10",
        "another start": "ALTER SEQUENCE trades_id_seq START 1000",
        "a lower maximum": "ALTER SEQUENCE users_id_seq MAXVALUE 32767",
        "a negative minimum": "ALTER SEQUENCE bot_configs_id_seq MINVALUE -10",
        "a sequence that cycles": "ALTER SEQUENCE trades_id_seq CYCLE",
        "a sequence cache": "ALTER SEQUENCE bot_configs_id_seq CACHE 100",
        "another name": "ALTER SEQUENCE users_id_seq RENAME TO users_seq",
        "a sequence of bigint": "ALTER SEQUENCE api_keys_id_seq AS bigint",
        "an unlogged sequence": "ALTER SEQUENCE trades_id_seq SET UNLOGGED",
        "an unknown sequence": "CREATE SEQUENCE order_numbers",
    },
    "primary and unique keys": {
        "no primary key": "ALTER TABLE bot_states DROP CONSTRAINT pk_bot_states",
        "a primary key on more columns": (
            "ALTER TABLE trades DROP CONSTRAINT pk_trades;"
            "ALTER TABLE trades ADD CONSTRAINT pk_trades PRIMARY KEY (id, timestamp)"
        ),
        "another name of a primary key": (
            "ALTER TABLE users RENAME CONSTRAINT pk_users TO users_pkey"
        ),
        "a deferrable primary key": (
            "ALTER TABLE trades DROP CONSTRAINT pk_trades;"
            "ALTER TABLE trades ADD CONSTRAINT pk_trades PRIMARY KEY (id) DEFERRABLE"
        ),
        "a primary key that includes a column": (
            "ALTER TABLE api_keys DROP CONSTRAINT pk_api_keys;"
            "ALTER TABLE api_keys ADD CONSTRAINT pk_api_keys PRIMARY KEY (id) INCLUDE (user_id)"
        ),
        "no unique constraint": ("ALTER TABLE trades DROP CONSTRAINT uq_trades_binance_order_id"),
        "no unique constraint that the composite foreign key references": (
            "ALTER TABLE bot_configs DROP CONSTRAINT uq_bot_configs_id_user_id CASCADE"
        ),
        "a unique constraint on more columns": (
            "ALTER TABLE trades DROP CONSTRAINT uq_trades_binance_order_id;"
            "ALTER TABLE trades ADD CONSTRAINT uq_trades_binance_order_id"
            " UNIQUE (binance_order_id, symbol)"
        ),
        "NULLS NOT DISTINCT": (
            "ALTER TABLE trades DROP CONSTRAINT uq_trades_binance_order_id;"
            "ALTER TABLE trades ADD CONSTRAINT uq_trades_binance_order_id"
            " UNIQUE NULLS NOT DISTINCT (binance_order_id)"
        ),
        "a deferrable unique constraint": (
            "ALTER TABLE trades DROP CONSTRAINT uq_trades_binance_order_id;"
            "ALTER TABLE trades ADD CONSTRAINT uq_trades_binance_order_id"
            " UNIQUE (binance_order_id) DEFERRABLE INITIALLY DEFERRED"
        ),
        "a unique index instead of a constraint": (
            "ALTER TABLE trades DROP CONSTRAINT uq_trades_binance_order_id;"
            "CREATE UNIQUE INDEX uq_trades_binance_order_id ON trades (binance_order_id)"
        ),
        "an unknown unique constraint": (
            "ALTER TABLE api_keys ADD CONSTRAINT one_key_per_user UNIQUE (user_id)"
        ),
        "unique names of bots": "CREATE UNIQUE INDEX one_name ON bot_configs (user_id, name)",
        "an exclusion constraint": (
            "ALTER TABLE bot_states ADD CONSTRAINT one_position"
            " EXCLUDE USING btree (status WITH =) WHERE (in_position)"
        ),
    },
    "check constraints": {
        "no check": "ALTER TABLE trades DROP CONSTRAINT ck_trades_price_non_negative",
        "greater than instead of greater or equal": (
            "ALTER TABLE trades DROP CONSTRAINT ck_trades_price_non_negative;"
            "ALTER TABLE trades ADD CONSTRAINT ck_trades_price_non_negative"
            " CHECK (price > 0 AND price <> 'NaN')"
        ),
        "NaN is accepted": (
            "ALTER TABLE bot_states DROP CONSTRAINT ck_bot_states_daily_pnl_not_nan;"
            "ALTER TABLE bot_states ADD CONSTRAINT ck_bot_states_daily_pnl_not_nan"
            " CHECK (daily_pnl IS NOT NULL)"
        ),
        "one more value": (
            "ALTER TABLE bot_states DROP CONSTRAINT ck_bot_states_status_known;"
            "ALTER TABLE bot_states ADD CONSTRAINT ck_bot_states_status_known"
            " CHECK (status IN ('running', 'stopped', 'error', 'paused'))"
        ),
        "one value fewer": (
            "ALTER TABLE trades DROP CONSTRAINT ck_trades_side_known;"
            "ALTER TABLE trades ADD CONSTRAINT ck_trades_side_known CHECK (side IN ('BUY'))"
        ),
        "a percentage above 100": (
            "ALTER TABLE bot_configs DROP CONSTRAINT ck_bot_configs_stop_loss_perc_percentage;"
            "ALTER TABLE bot_configs ADD CONSTRAINT ck_bot_configs_stop_loss_perc_percentage"
            " CHECK (stop_loss_perc BETWEEN 0 AND 1000)"
        ),
        "a check that is always true": (
            "ALTER TABLE users DROP CONSTRAINT ck_users_email_not_empty;"
            "ALTER TABLE users ADD CONSTRAINT ck_users_email_not_empty CHECK (true)"
        ),
        "two checks with swapped names": (
            "ALTER TABLE api_keys RENAME CONSTRAINT ck_api_keys_encrypted_api_key_not_empty TO x;"
            "ALTER TABLE api_keys RENAME CONSTRAINT ck_api_keys_encrypted_secret_key_not_empty"
            " TO ck_api_keys_encrypted_api_key_not_empty;"
            "ALTER TABLE api_keys RENAME CONSTRAINT x"
            " TO ck_api_keys_encrypted_secret_key_not_empty"
        ),
        "another name of a check": (
            "ALTER TABLE bot_configs RENAME CONSTRAINT ck_bot_configs_symbol_not_empty TO sym"
        ),
        "an unknown check": ("ALTER TABLE users ADD CONSTRAINT has_at CHECK (email LIKE '%@%')"),
        "a check that is not validated": (
            "ALTER TABLE bot_configs DROP CONSTRAINT ck_bot_configs_ema_fast_below_slow;"
            "ALTER TABLE bot_configs ADD CONSTRAINT ck_bot_configs_ema_fast_below_slow"
            " CHECK (ema_fast < ema_slow) NOT VALID"
        ),
        "a check that is not enforced": (
            "ALTER TABLE bot_configs DROP CONSTRAINT ck_bot_configs_ema_fast_below_slow;"
            "ALTER TABLE bot_configs ADD CONSTRAINT ck_bot_configs_ema_fast_below_slow"
            " CHECK (ema_fast < ema_slow) NOT ENFORCED",
            18,
        ),
        "a check that children do not inherit": (
            "ALTER TABLE trades DROP CONSTRAINT ck_trades_pnl_not_nan;"
            "ALTER TABLE trades ADD CONSTRAINT ck_trades_pnl_not_nan"
            " CHECK (pnl <> 'NaN') NO INHERIT"
        ),
    },
    "foreign keys": {
        "no foreign key": "ALTER TABLE api_keys DROP CONSTRAINT fk_api_keys_user_id_users",
        "no composite foreign key": (
            "ALTER TABLE trades DROP CONSTRAINT fk_trades_bot_config_id_user_id_bot_configs"
        ),
        **{
            title: (
                "ALTER TABLE trades DROP CONSTRAINT fk_trades_user_id_users;"
                "ALTER TABLE trades ADD CONSTRAINT fk_trades_user_id_users"
                f" FOREIGN KEY (user_id) REFERENCES {reference}",
                since,
            )
            for title, reference, since in (
                ("ON DELETE CASCADE for the user of trades", "users (id) ON DELETE CASCADE", 15),
                ("ON DELETE SET NULL for the user of trades", "users (id) ON DELETE SET NULL", 15),
                ("NO ACTION instead of RESTRICT", "users (id)", 15),
                ("ON UPDATE", "users (id) ON DELETE RESTRICT ON UPDATE CASCADE", 15),
                ("another table", "api_keys (id) ON DELETE RESTRICT", 15),
                ("DEFERRABLE", "users (id) ON DELETE RESTRICT DEFERRABLE", 15),
                ("MATCH FULL", "users (id) MATCH FULL ON DELETE RESTRICT", 15),
                ("a foreign key NOT VALID", "users (id) ON DELETE RESTRICT NOT VALID", 15),
                ("a foreign key NOT ENFORCED", "users (id) ON DELETE RESTRICT NOT ENFORCED", 18),
            )
        },
        "ON DELETE RESTRICT instead of CASCADE": (
            "ALTER TABLE bot_configs DROP CONSTRAINT fk_bot_configs_user_id_users;"
            "ALTER TABLE bot_configs ADD CONSTRAINT fk_bot_configs_user_id_users"
            " FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE RESTRICT"
        ),
        "INITIALLY DEFERRED": (
            "ALTER TABLE bot_states ALTER CONSTRAINT fk_bot_states_id_bot_configs"
            " DEFERRABLE INITIALLY DEFERRED"
        ),
        "another name of a foreign key": (
            "ALTER TABLE bot_states RENAME CONSTRAINT fk_bot_states_id_bot_configs TO fk_bot"
        ),
        "an unknown foreign key": (
            "ALTER TABLE api_keys ADD CONSTRAINT odd FOREIGN KEY (id) REFERENCES users (id)"
        ),
        "the triggers of a foreign key are disabled": "ALTER TABLE api_keys DISABLE TRIGGER ALL",
        "a foreign key without its triggers": (
            "SET allow_system_table_mods = on;"
            "DELETE FROM pg_trigger WHERE tgrelid = 'api_keys'::regclass"
        ),
        "a comment on a trigger of a foreign key": (
            "DO $$ DECLARE t name; BEGIN SELECT tgname INTO t FROM pg_trigger"
            " WHERE tgrelid = 'bot_states'::regclass LIMIT 1; EXECUTE"
            " format('COMMENT ON TRIGGER %I ON bot_states IS %L', t, 'Checks the bot.'); END $$"
        ),
        "another name of a trigger of a foreign key": (
            "DO $$ DECLARE t name; BEGIN SELECT tgname INTO t FROM pg_trigger"
            " WHERE tgrelid = 'bot_states'::regclass LIMIT 1;"
            " EXECUTE format('ALTER TRIGGER %I ON bot_states RENAME TO checked', t); END $$"
        ),
        "the triggers of a foreign key do not fire": (
            "SET allow_system_table_mods = on; UPDATE pg_class SET relhastriggers = false"
            " WHERE oid = 'trades'::regclass"
        ),
        "triggers that also fire on a replica": (
            "DO $$ DECLARE t name; BEGIN SELECT tgname INTO t FROM pg_trigger"
            " WHERE tgrelid = 'bot_states'::regclass LIMIT 1;"
            " EXECUTE format('ALTER TABLE bot_states ENABLE ALWAYS TRIGGER %I', t); END $$"
        ),
    },
    "indexes": {
        "no index": "DROP INDEX ix_trades_bot_config_id",
        "an unknown index": "CREATE INDEX ix_trades_symbol ON trades (symbol)",
        "another name of an index": "ALTER INDEX ix_api_keys_user_id RENAME TO api_keys_owner",
        "a unique index that is not unique": (
            "DROP INDEX ix_users_email; CREATE INDEX ix_users_email ON users (email)"
        ),
        "an index that is unique": (
            "DROP INDEX ix_bot_configs_user_id;"
            "CREATE UNIQUE INDEX ix_bot_configs_user_id ON bot_configs (user_id)"
        ),
        **{
            title: f"DROP INDEX ix_trades_user_id; CREATE INDEX ix_trades_user_id ON {on}"
            for title, on in {
                "more columns": "trades (user_id, timestamp)",
                "another column": "trades (bot_config_id)",
                "another method": "trades USING hash (user_id)",
                "another direction": "trades (user_id DESC)",
                "NULLS FIRST": "trades (user_id NULLS FIRST)",
                "a partial index": "trades (user_id) WHERE pnl IS NULL",
                "an INCLUDE list": "trades (user_id) INCLUDE (price)",
                "an expression": "trades ((user_id + 0))",
                "a fill factor": "trades (user_id) WITH (fillfactor = 70)",
            }.items()
        },
        "the operator class of LIKE": (
            "DROP INDEX ix_users_email;"
            "CREATE UNIQUE INDEX ix_users_email ON users (email varchar_pattern_ops)"
        ),
        "the collation of an index": (
            "DROP INDEX ix_users_email;"
            'CREATE UNIQUE INDEX ix_users_email ON users (email COLLATE "POSIX")'
        ),
        "unique regardless of case": (
            "DROP INDEX ix_users_email; CREATE UNIQUE INDEX ix_users_email ON users (lower(email))"
        ),
        "an invalid index": (
            "SET allow_system_table_mods = on; UPDATE pg_index SET indisvalid = false"
            " WHERE indexrelid = 'ix_trades_user_id'::regclass"
        ),
        "a primary key is checked late": (
            "SET allow_system_table_mods = on; UPDATE pg_index SET indimmediate = false"
            " WHERE indexrelid = 'pk_users'::regclass"
        ),
        "an index that is the replica identity": (
            "ALTER TABLE users REPLICA IDENTITY USING INDEX ix_users_email"
        ),
        "an index that a table is clustered on": (
            "ALTER TABLE trades CLUSTER ON ix_trades_bot_config_id"
        ),
        "extended statistics": "CREATE STATISTICS s ON user_id, bot_config_id FROM trades",
    },
    "comments": {
        "no comment on a table": "COMMENT ON TABLE api_keys IS NULL",
        "another comment on a table": "COMMENT ON TABLE trades IS 'Orders.'",
        "no comment on a column": "COMMENT ON COLUMN users.email IS NULL",
        "another unit": "COMMENT ON COLUMN bot_states.daily_pnl IS 'In percent.'",
        "a comment where there is none": "COMMENT ON COLUMN bot_configs.user_id IS 'Owner.'",
        "a comment on a constraint": "COMMENT ON CONSTRAINT pk_trades ON trades IS 'Key.'",
        "a comment on an index": "COMMENT ON INDEX ix_users_email IS 'Log in.'",
        "a comment on the schema": "COMMENT ON SCHEMA public IS 'Trading.'",
        "a comment on the type of a table's rows": "COMMENT ON TYPE users IS 'User.'",
        "a comment on the type of arrays of rows": "COMMENT ON TYPE _users IS 'Users.'",
        "a comment on PL/pgSQL": "COMMENT ON LANGUAGE plpgsql IS 'Unused.'",
    },
    "triggers, functions, views, types": {
        "a function": "CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "a function in the system's schema": (
            "CREATE FUNCTION pg_catalog.one() RETURNS int LANGUAGE sql AS 'SELECT 1'"
        ),
        "a procedure": "CREATE PROCEDURE nothing() LANGUAGE sql AS ''",
        "a trigger": (
            "CREATE TRIGGER t BEFORE UPDATE ON users FOR EACH ROW"
            " EXECUTE FUNCTION suppress_redundant_updates_trigger()"
        ),
        "a rule": "CREATE RULE r AS ON DELETE TO trades DO INSTEAD NOTHING",
        "a view": "CREATE VIEW open_bots AS SELECT * FROM bot_configs WHERE is_active",
        "a materialised view": (
            "CREATE MATERIALIZED VIEW volume AS SELECT symbol, sum(price) FROM trades GROUP BY 1"
        ),
        "an enum": "CREATE TYPE side AS ENUM ('BUY', 'SELL')",
        "a column of an enum": (
            "ALTER TABLE trades DROP CONSTRAINT ck_trades_side_known;"
            "CREATE TYPE side AS ENUM ('BUY', 'SELL');"
            "ALTER TABLE trades ALTER side TYPE side USING side::side"
        ),
        "a domain": "CREATE DOMAIN money_amount AS numeric(38, 18) CHECK (VALUE >= 0)",
        "a column of a domain": (
            "CREATE DOMAIN money_amount AS numeric(38, 18);"
            "ALTER TABLE trades ALTER pnl TYPE money_amount"
        ),
        "a range type": "CREATE TYPE price_range AS RANGE (subtype = numeric)",
        "a composite type": "CREATE TYPE fill AS (price numeric, quantity numeric)",
        "an aggregate": "CREATE AGGREGATE total (numeric) (sfunc = numeric_add, stype = numeric)",
        "an operator": "CREATE OPERATOR === (leftarg = int, rightarg = int, function = int4eq)",
        "a cast": "CREATE CAST (boolean AS bigint) WITH INOUT",
        "a collation": 'CREATE COLLATION plain FROM "C"',
        "a text search configuration": "CREATE TEXT SEARCH CONFIGURATION t (COPY = simple)",
        "an event trigger": (
            "CREATE FUNCTION e() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';"
            "CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION e()"
        ),
        "no PL/pgSQL": "DROP EXTENSION plpgsql",
        "a table that belongs to an extension": "ALTER EXTENSION plpgsql ADD TABLE api_keys",
        "a function that belongs to an extension": (
            "ALTER EXTENSION plpgsql ADD FUNCTION pg_catalog.now()"
        ),
        "no comment on an extension": "COMMENT ON EXTENSION plpgsql IS NULL",
        "another schema": "CREATE SCHEMA reporting",
        "no German text search": "DROP TEXT SEARCH CONFIGURATION german",
        "PL/pgSQL is for superusers": (
            "SET allow_system_table_mods = on;"
            "UPDATE pg_language SET lanpltrusted = false WHERE lanname = 'plpgsql'"
        ),
    },
    "policies, owners, grants": {
        "row security": "ALTER TABLE trades ENABLE ROW LEVEL SECURITY",
        "row security for the owner as well": "ALTER TABLE users FORCE ROW LEVEL SECURITY",
        "a policy": "CREATE POLICY own ON api_keys USING (false)",
        "another owner of a table": "ALTER TABLE users OWNER TO pg_database_owner",
        "another owner of the schema": "ALTER SCHEMA public OWNER TO pg_monitor",
        "another owner of the database": (
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I OWNER TO pg_monitor',"
            " current_database()); END $$"
        ),
        "SELECT on secrets granted to PUBLIC": "GRANT SELECT ON api_keys TO PUBLIC",
        "a grant on one column": "GRANT UPDATE (status) ON bot_states TO pg_monitor",
        "a grant WITH GRANT OPTION": "GRANT SELECT ON trades TO pg_monitor WITH GRANT OPTION",
        "DELETE revoked from the owner": "REVOKE DELETE ON trades FROM CURRENT_USER",
        "a grant on a sequence": "GRANT USAGE ON SEQUENCE trades_id_seq TO PUBLIC",
        "CREATE on the schema granted to PUBLIC": "GRANT CREATE ON SCHEMA public TO PUBLIC",
        "USAGE on the schema revoked from PUBLIC": "REVOKE USAGE ON SCHEMA public FROM PUBLIC",
        "default privileges": "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC",
        "CONNECT revoked from PUBLIC": (
            "DO $$ BEGIN EXECUTE format('REVOKE CONNECT ON DATABASE %I FROM PUBLIC',"
            " current_database()); END $$"
        ),
        "USAGE on a language revoked from PUBLIC": "REVOKE USAGE ON LANGUAGE sql FROM PUBLIC",
        "EXECUTE on a system function revoked from PUBLIC": (
            "REVOKE EXECUTE ON FUNCTION pg_catalog.now() FROM PUBLIC"
        ),
        "USAGE on a table's row type revoked from PUBLIC": (
            "REVOKE USAGE ON TYPE users FROM PUBLIC"
        ),
        "SELECT on password hashes granted to PUBLIC": (
            "GRANT SELECT ON pg_catalog.pg_authid TO PUBLIC"
        ),
        "another owner of PL/pgSQL": "ALTER LANGUAGE plpgsql OWNER TO pg_monitor",
        "another owner of the information schema": (
            "ALTER SCHEMA information_schema OWNER TO pg_monitor"
        ),
        "CREATE on the information schema granted to PUBLIC": (
            "GRANT CREATE ON SCHEMA information_schema TO PUBLIC"
        ),
        "SELECT on a view of the information schema revoked from PUBLIC": (
            "REVOKE SELECT ON information_schema.tables FROM PUBLIC"
        ),
        "a view of the information schema is missing": (
            "DROP VIEW information_schema.element_types CASCADE"
        ),
    },
    "replication, storage, settings": {
        "a publication": "CREATE PUBLICATION p FOR TABLE trades",
        "a publication of all tables": "CREATE PUBLICATION p FOR ALL TABLES",
        "REPLICA IDENTITY FULL": "ALTER TABLE trades REPLICA IDENTITY FULL",
        "REPLICA IDENTITY NOTHING": "ALTER TABLE api_keys REPLICA IDENTITY NOTHING",
        "a fill factor of a table": "ALTER TABLE bot_states SET (fillfactor = 70)",
        "no autovacuum": "ALTER TABLE trades SET (autovacuum_enabled = false)",
        "no autovacuum of long values": (
            "ALTER TABLE api_keys SET (toast.autovacuum_enabled = off)"
        ),
        "a setting of the database": (
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET timezone = %L',"
            " current_database(), 'Asia/Tokyo'); END $$"
        ),
        "a setting of a role in the database": (
            "DO $$ BEGIN EXECUTE format('ALTER ROLE CURRENT_USER IN DATABASE %I"
            " SET search_path = %L', current_database(), 'pg_temp'); END $$"
        ),
        "a limit of connections": (
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I CONNECTION LIMIT 100',"
            " current_database()); END $$"
        ),
        "a comment on the database": (
            "DO $$ BEGIN EXECUTE format('COMMENT ON DATABASE %I IS %L',"
            " current_database(), 'Production.'); END $$"
        ),
        "a foreign server": (
            "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER elsewhere FOREIGN DATA WRAPPER w"
        ),
        "another revision": "UPDATE alembic_version SET version_num = '0123456789ab'",
        "no revision": "DELETE FROM alembic_version",
        "two revisions": "INSERT INTO alembic_version VALUES ('0123456789ab')",
    },
}
"""Mutations by kind and title: SQL, and the first release of PostgreSQL if that is not 15."""

NO_DRIFT: dict[str, str | tuple[str, int]] = {
    "statistics are gathered": "ANALYZE",
    "a vacuum": "VACUUM (ANALYZE)",
    "a full vacuum": "VACUUM FULL trades",
    "indexes are rebuilt": "REINDEX TABLE trades",
    "rows are inserted": (
        "INSERT INTO users (email, hashed_password)"
        " SELECT n || '@example.com', 'x' FROM generate_series(1, 100) n"
    ),
    "rows are deleted": (
        "INSERT INTO users (email, hashed_password) VALUES ('a@example.com', 'x');"
        "DELETE FROM users"
    ),
    "a sequence is advanced": "SELECT nextval('trades_id_seq'), setval('users_id_seq', 1000)",
    "a sequence is restarted": "ALTER TABLE users ALTER id RESTART WITH 500",
    "an identical check is created again": (
        "ALTER TABLE trades DROP CONSTRAINT ck_trades_side_known;"
        "ALTER TABLE trades ADD CONSTRAINT ck_trades_side_known CHECK (side IN ('BUY', 'SELL'))"
    ),
    "an identical foreign key is created again, validated afterwards": (
        "ALTER TABLE trades DROP CONSTRAINT fk_trades_user_id_users;"
        "ALTER TABLE trades ADD CONSTRAINT fk_trades_user_id_users"
        " FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE RESTRICT NOT VALID;"
        "ALTER TABLE trades VALIDATE CONSTRAINT fk_trades_user_id_users"
    ),
    "an identical index is created again": (
        "DROP INDEX ix_trades_user_id; CREATE INDEX ix_trades_user_id ON trades (user_id)"
    ),
    "an index is rebuilt concurrently": ("REINDEX INDEX CONCURRENTLY ix_trades_user_id"),
    "an identical primary key is created again": (
        "ALTER TABLE trades DROP CONSTRAINT pk_trades;"
        "ALTER TABLE trades ADD CONSTRAINT pk_trades PRIMARY KEY (id)"
    ),
    "an identical comment": "COMMENT ON COLUMN trades.side IS 'BUY or SELL.'",
    "a column is renamed and renamed back": (
        "ALTER TABLE users RENAME email TO e; ALTER TABLE users RENAME e TO email"
    ),
    "a column is added and dropped again": (
        "ALTER TABLE trades ADD note text; ALTER TABLE trades DROP note"
    ),
    "a trigger is disabled and enabled again": (
        "ALTER TABLE api_keys DISABLE TRIGGER ALL; ALTER TABLE api_keys ENABLE TRIGGER ALL"
    ),
    "a temporary table": "CREATE TEMPORARY TABLE scratch (id integer)",
    "settings of the session": "SET search_path = pg_catalog; SET timezone = 'Asia/Tokyo'",
}
"""Changes that do not change the schema."""

NOT_DETECTABLE = {
    "A role, its password, its settings in all databases": (
        "CREATE ROLE {name} PASSWORD 'x'; ALTER ROLE {name} SET work_mem = '1GB'",
        "DROP ROLE {name}",
        "Roles belong to the server, not to a database; so do tablespaces and ALTER SYSTEM.",
    ),
    "A large object": (
        "SELECT lo_create(0)",
        "",
        "PostgreSQL counts large objects as data.",
    ),
    "A change of PostgreSQL's own objects": (
        "ALTER FUNCTION pg_catalog.now() COST 100",
        "",
        "pg_dump does not dump them. Grants on them and additions to them are reported.",
    ),
}
"""Not reported by the conformance check: the change, SQL to undo it, and the reason."""


def _mutations(kind: str, listed: Mapping[str, str | tuple[str, int]]) -> list[Mutation]:
    return [
        Mutation(kind, title, sql) if isinstance(sql, str) else Mutation(kind, title, *sql)
        for title, sql in listed.items()
    ]


MUTATIONS = [mutation for kind, listed in DRIFT.items() for mutation in _mutations(kind, listed)]
HARMLESS = _mutations("harmless", NO_DRIFT)


def apply(url: str, mutation: Mutation) -> bool:
    """Change a database, unless its server is too old; return whether it was changed."""
    with psycopg.connect(url, autocommit=True) as connection:
        if connection.info.server_version < mutation.since * 10_000:
            return False
        connection.execute(mutation.sql.encode())
    return True
