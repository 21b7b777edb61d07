"""A revision that changes or loses rows is detected, with rows of every kind."""

from collections.abc import Callable

import psycopg
import pytest
from psycopg.rows import dict_row

from tests.rows import ROWS
from tests.support.probe_revisions import Revisions
from tests.trading_bot import HEAD, PROJECT
from verification import Databases, databases
from verification.content import Rows, columns, lost, shared
from verification.round_trip import round_trip
from verification.rows import fill


def column(table: str, name: str, kind: str, using: str = "") -> str:
    using = f" USING {using}" if using else ""
    return f'op.execute("ALTER TABLE {table} ALTER COLUMN {name} TYPE {kind}{using}")'


def side(*values: str) -> str:
    """Return SQL that allows other values of a trade's side."""
    return (
        'op.execute("ALTER TABLE trades DROP CONSTRAINT ck_trades_side_known")\n'
        'op.execute("ALTER TABLE trades ADD CONSTRAINT ck_trades_side_known CHECK (side IN'
        f' {values})")'
    )


BERLIN = "timestamp AT TIME ZONE 'Europe/Berlin'"
UPGRADES = {
    # Title: upgrade, downgrade, what changes, what is lost.
    "rounds a price": (
        column("trades", "price", "numeric(38, 8)", "trunc(price, 8)"),
        column("trades", "price", "numeric(38, 18)"),
        {"trades.price"},
        {"trades.price"},
    ),
    "converts a decimal to a float": (
        column("bot_configs", "stop_loss_perc", "real"),
        column("bot_configs", "stop_loss_perc", "numeric(12, 6)"),
        {"bot_configs.stop_loss_perc"},
        {"bot_configs.stop_loss_perc"},
    ),
    "drops the time zone": (
        column("trades", "timestamp", "timestamp", BERLIN),
        column("trades", "timestamp", "timestamptz", BERLIN),
        {"trades.timestamp"},
        {"trades.timestamp"},
    ),
    "shifts a time": (
        "op.execute(\"UPDATE users SET created_at = created_at - interval '3 hours'\")",
        "op.execute(\"UPDATE users SET created_at = created_at + interval '3 hours'\")",
        {"users.created_at"},
        set(),
    ),
    "removes duplicates": (
        'op.execute("DELETE FROM bot_configs a USING bot_configs b WHERE a.user_id = b.user_id'
        ' AND a.name = b.name AND a.id > b.id")',
        "pass",
        {"bot_configs", "bot_states"},
        {"bot_configs", "bot_states"},
    ),
    "fills NULLs": (
        "op.execute(\"UPDATE api_keys SET label = '' WHERE label IS NULL\")",
        "pass",
        {"api_keys.label"},
        {"api_keys.label"},
    ),
    "trims names": (
        'op.execute("UPDATE bot_configs SET name = trim(name)")',
        "pass",
        {"bot_configs.name"},
        {"bot_configs.name"},
    ),
    "rounds to seconds": (
        column("bot_states", "last_run_at", "timestamptz(0)"),
        column("bot_states", "last_run_at", "timestamptz"),
        {"bot_states.last_run_at"},
        {"bot_states.last_run_at"},
    ),
}
DOWNGRADES = {
    # Title: upgrade, downgrade, what is lost.
    "truncates long text": (
        column("api_keys", "label", "varchar(200)"),
        column("api_keys", "label", "varchar(100)", "left(label, 100)"),
        {"api_keys.label"},
    ),
    "maps two values to one": (
        side("BUY", "SELL", "SWAP"),
        "op.execute(\"UPDATE trades SET side = 'SELL' WHERE side = 'SWAP'\")\n"
        + side("BUY", "SELL"),
        {"trades.side"},
    ),
    "rounds": (
        column("bot_configs", "stop_loss_perc", "numeric(18, 9)"),
        column("bot_configs", "stop_loss_perc", "numeric(12, 6)"),
        {"bot_configs.stop_loss_perc"},
    ),
    "fills a column that may be NULL": (
        'op.alter_column("trades", "timestamp", nullable=True)',
        'op.execute("UPDATE trades SET timestamp = now() WHERE timestamp IS NULL")\n'
        'op.alter_column("trades", "timestamp", nullable=False)',
        {"trades.timestamp"},
    ),
}


@pytest.mark.parametrize("title", UPGRADES)
def test_an_upgrade_that_changes_data_is_detected(
    title: str, revisions: Revisions, owned_databases: Databases
) -> None:
    upgrade, downgrade, changed, losses = UPGRADES[title]
    revisions.add("probe", upgrade, downgrade)
    project = revisions.project
    result = round_trip(
        owned_databases.filled(HEAD),
        lambda url: project.migrate(url, "probe"),
        lambda url: project.migrate(url, "-1"),
    )
    assert (result.changed, result.lost) == (changed, losses)


@pytest.mark.parametrize("title", DOWNGRADES)
def test_a_downgrade_that_changes_data_is_detected(
    title: str, revisions: Revisions, database: str
) -> None:
    upgrade, downgrade, losses = DOWNGRADES[title]
    revisions.add("probe", upgrade, downgrade)
    project = revisions.project
    project.migrate(database, "probe")
    fill(database, project)
    result = round_trip(
        database,
        lambda url: project.migrate(url, "-1"),
        lambda url: project.migrate(url, "probe"),
    )
    assert result.lost == losses


def test_rows_of_any_type(database: str) -> None:
    kinds = "uuid bytea interval time inet int4range jsonb text[] int[] float8 date".split()  # noqa: SIM905
    added = (f"ADD COLUMN probe{number} {kind}" for number, kind in enumerate(kinds))
    databases.execute(database, f"ALTER TABLE api_keys {', '.join(added)}")
    fill(database, PROJECT)
    with psycopg.connect(database) as connection:
        for number, kind in enumerate(kinds):
            values = connection.execute(f"SELECT DISTINCT probe{number} FROM api_keys").fetchall()
            assert len(values) > 2, kind


def test_rows_fulfil_the_constraints_of_the_next_revision(
    make_database: Callable[..., str], migrated_template: str
) -> None:
    changes = (
        "ALTER TABLE bot_configs ADD UNIQUE (user_id, name)",
        "ALTER TABLE trades ADD CHECK (price > 1)",
        "ALTER TABLE api_keys ALTER COLUMN label SET NOT NULL",
        "ALTER TABLE api_keys ALTER COLUMN label TYPE varchar(30)",
        "ALTER TABLE bot_states ADD FOREIGN KEY (daily_trades_count) REFERENCES users",
        "CREATE UNIQUE INDEX ON trades (user_id, symbol)",
    )
    plain, suitable, like = (make_database(migrated_template) for _ in range(3))
    databases.execute(like, *changes)
    fill(plain, PROJECT)
    fill(suitable, PROJECT, like=like)
    for change in changes:
        with pytest.raises(psycopg.Error):
            databases.execute(plain, change)
    databases.execute(suitable, *changes)


def test_rows_are_representative(database: str) -> None:
    with psycopg.connect(database, row_factory=dict_row) as connection:
        tables = columns(connection)
    uniform = [
        f"{table}.{column}"
        for table, names in tables.items()
        for column in names
        if len({row.get(column) for row in ROWS.get(table, [])}) < 2
    ]
    assert not uniform, f"tests/rows.py needs two different values of {', '.join(uniform)}"


def test_what_is_lost() -> None:
    before: dict[str, Rows] = {
        "users": {(1,): {"id": 1, "email": "a", "note": None}, (2,): {"id": 2, "email": "b"}},
        "trades": {(1,): {"id": 1}},
        "bots": {(1,): {"id": 1}},
    }
    after: dict[str, Rows] = {
        "users": {(1,): {"id": 1, "email": "A"}, (2,): {"id": 2, "email": "b"}},
        "trades": {},
    }
    assert lost(before, after) == {"users.email", "users.note", "trades", "bots"}
    assert lost(shared(before, after), after) == {"users.email", "trades"}
    assert lost(before, before) == set()
