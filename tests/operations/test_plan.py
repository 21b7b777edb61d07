"""``python -m trading_bot_schema plan`` reports what would run and what blocks it; it only reads.

The obstacles are created by another session, a role, or a change of the system catalogs.
"""

import json
import re
from collections.abc import Callable
from itertools import product
from typing import Any

import psycopg
import pytest
from sqlalchemy import event, make_url
from sqlalchemy.engine import Engine

from tests.operations.landed import HISTORY, TABLES
from tests.support.alembic_cli import Result
from trading_bot_schema.docstrings import LOCKS
from trading_bot_schema.migrator.lock import LOCK_KEY
from trading_bot_schema.plan import obstacles
from trading_bot_schema.plan.command import make_plan
from trading_bot_schema.plan.obstacles import CONFLICTS, Effect
from verification import Databases, databases
from verification.databases import execute, scalar, transaction

Run = Callable[..., Result]
INITIAL = HISTORY[0].revision
INDEXES = HISTORY[1].revision


@pytest.fixture
def initial(database_at: Databases) -> str:
    """A database that lacks all revisions but the first."""
    return database_at.at(INITIAL)


def obstacles_with(url: str, effect: Effect, target: str = INDEXES) -> list[str]:
    """Return the plan's obstacles with an effect."""
    plan = make_plan(make_url(url), target)
    assert plan.would_run == all(o.effect != Effect.BLOCKS for o in plan.obstacles)
    return [f"{o.table}: {o.description}" for o in plan.obstacles if o.effect == effect]


# What would run.


def test_nothing_to_run(database: str, package_command: Run) -> None:
    package_command("plan", database=database).succeeded("Nothing would run.\n")


def test_a_database_without_the_tables(empty_database: str) -> None:
    execute(empty_database, "CREATE TABLE another ()")
    plan = make_plan(make_url(empty_database).set(password="hush"))
    assert "hush" not in plan.database
    assert [r.revision for r in plan.revisions] == [r.revision for r in HISTORY]
    assert plan.would_run, plan.obstacles
    # They are new: the first revision creates them.
    assert not any(table.exists for table in plan.tables)
    for table in plan.tables:
        taken = {revision.tables.get(table.name) for revision in plan.revisions} - {None}
        assert table.lock == max(taken, key=LOCKS.index)


def test_the_declarations_of_the_docstrings(initial: str, package_command: Run) -> None:
    package_command("plan", INDEXES, database=initial).succeeded(
        f"is at {INITIAL}.",
        f"{INDEXES}  Index the hot queries.",
        "Why:       the last trades",
        "Locks:     SHARE UPDATE",
        "Downgrade: keeps all",
        "trades       SHARE UPDATE EXCLUSIVE",
        "\nIt would run.\n",
    )


def test_json(initial: str, package_command: Run) -> None:
    execute(initial, "ANALYZE trades")
    plan = json.loads(package_command("plan", INDEXES, "--json", database=initial).stdout)
    assert (plan["at"], plan["would_run"], plan["obstacles"]) == ([INITIAL], True, [])
    (revision,) = plan["revisions"]
    assert revision["revision"] == INDEXES
    assert revision["tables"] == {table["name"]: table["lock"] for table in plan["tables"]}
    (trades,) = (table for table in plan["tables"] if table["name"] == "trades")
    assert trades["bytes"] > 0


def test_conflicts_of_locks(database: str) -> None:
    with psycopg.connect(database) as first, psycopg.connect(database) as second:
        for wanted, held in product(LOCKS, LOCKS):
            first.execute(f"LOCK TABLE trades IN {held} MODE".encode())
            try:
                second.execute(f"LOCK TABLE trades IN {wanted} MODE NOWAIT".encode())
                waits = False
            except psycopg.errors.LockNotAvailable:
                waits = True
            first.rollback()
            second.rollback()
            assert waits == (held in CONFLICTS[wanted]), f"{wanted} after {held}"


# Obstacles.


SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"
OLD_SNAPSHOT = r"None: the oldest snapshot is that of pid .*application forgetful"
HELD = (
    r"trades: ROW EXCLUSIVE is held by pid \d+ \(user .*application forgetful.*idle in transaction"
)


@pytest.mark.parametrize(
    ("long", "statements", "effect", "expected"),
    [
        (0, ["DELETE FROM trades"], Effect.BLOCKS, HELD),
        (3600, ["DELETE FROM trades"], Effect.DELAYS, HELD),
        (0, ["SELECT FROM trades"], None, ""),  # It only reads, so nothing waits for it.
        (0, [SNAPSHOT, "SELECT FROM users"], Effect.BLOCKS, OLD_SNAPSHOT),
        (3600, [f"SELECT pg_advisory_lock({LOCK_KEY})"], Effect.DELAYS, "None: another migrator"),
    ],
)
def test_a_session(
    long: int,
    statements: list[str],
    effect: Effect | None,
    expected: str,
    initial: str,
    database_at: Databases,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(obstacles, "LONG_SECONDS", long)
    with transaction(initial, *statements, application_name="forgetful"):
        found = {e: obstacles_with(initial, e) for e in (Effect.BLOCKS, Effect.DELAYS)}
        assert obstacles_with(database_at.at(INITIAL), Effect.DELAYS) == [], "another database"
    shown = found.pop(effect, []) if effect else []
    assert [bool(re.match(expected, obstacle)) for obstacle in shown] == [True] * bool(effect)
    assert [*found.values()] == [[]] * len(found)


def test_a_prepared_transaction(initial: str) -> None:
    if scalar(initial, "SHOW max_prepared_transactions") == "0":
        pytest.skip("max_prepared_transactions is 0")
    execute(initial, "BEGIN", "DELETE FROM trades", "PREPARE TRANSACTION 'forgotten'")
    try:
        (obstacle,) = obstacles_with(initial, Effect.BLOCKS)
    finally:
        execute(initial, "ROLLBACK PREPARED 'forgotten'")
    assert "trades: ROW EXCLUSIVE is held by the prepared transaction 'forgotten'" in obstacle


def test_a_locked_table(initial: str) -> None:
    with transaction(initial, "LOCK TABLE trades"):
        plan = make_plan(make_url(initial), INDEXES)
    assert [table.bytes is None for table in plan.tables] == [
        table.name == "trades" for table in plan.tables
    ]
    assert any("ACCESS EXCLUSIVE is held" in obstacle.description for obstacle in plan.obstacles)


@pytest.mark.parametrize(
    ("effect", "change", "shown"),
    [
        (
            Effect.NOTE,
            "UPDATE pg_class SET relfrozenxid = '2' WHERE oid = 'trades'::regclass",
            "trades: due for an autovacuum to prevent",
        ),
        (
            Effect.NOTE,
            "UPDATE pg_index SET indisvalid = false"
            " WHERE indexrelid = 'ix_trades_user_id'::regclass",
            "trades: ix_trades_user_id is invalid",
        ),
        (
            Effect.BLOCKS,
            'ALTER DATABASE "{}" SET default_transaction_read_only = on',
            "None: transactions are read-only",
        ),
    ],
)
def test_a_state_of_the_database(initial: str, effect: Effect, change: str, shown: str) -> None:
    changed = change.format(databases.name_of(initial))
    execute(initial, "SET allow_system_table_mods = on", changed)
    (obstacle,) = obstacles_with(initial, effect)
    assert obstacle.startswith(shown)


def test_an_error_as_json(package_command: Run) -> None:
    plan = json.loads(package_command("plan", "--json", database="nonsense").ended(2).stdout)
    assert plan["would_run"] is False
    assert "The database URL is malformed" in plan["error"]


# Roles.

UNKNOWN_TIMES = (
    "None: since when others' transactions are open, their snapshots, autovacuum and the lag of"
    " standbys: GRANT pg_monitor to this role"
)


@pytest.mark.parametrize(
    ("member_of", "unknown", "effect", "held"),
    [
        # The age of the transaction is unknown, so it counts as long.
        ("pg_read_all_data", [UNKNOWN_TIMES], Effect.BLOCKS, "is held by pid"),
        ("pg_read_all_data, pg_monitor", [], Effect.DELAYS, "idle in transaction"),
    ],
)
def test_a_role_that_may_not_migrate(
    initial: str,
    make_role: Callable[..., str],
    member_of: str,
    unknown: list[str],
    effect: Effect,
    held: str,
) -> None:
    url = databases.as_role(initial, make_role(member_of=member_of))
    (note,) = obstacles_with(url, Effect.NOTE)
    assert note.startswith("None: this role may not migrate: run the migration as ")
    assert obstacles_with(url, Effect.UNKNOWN) == unknown
    with transaction(initial, "DELETE FROM trades"):
        (obstacle,) = obstacles_with(url, effect)
    assert held in obstacle


def test_an_owner_that_may_not_create_tables(initial: str, make_role: Callable[..., str]) -> None:
    role = make_role(" Owner's")  # A name that needs quoting.
    owned = (f'ALTER TABLE {table} OWNER TO "{role}"' for table in (*TABLES, "alembic_version"))
    execute(initial, *owned)
    (obstacle,) = obstacles_with(initial, Effect.BLOCKS)
    assert f"{role} may not create tables" in obstacle
    # The advice can be run as it is.
    execute(initial, obstacle.partition("tables: ")[2])
    assert obstacles_with(initial, Effect.BLOCKS) == []
    execute(initial, "ALTER TABLE trades OWNER TO pg_monitor")
    (obstacle,) = obstacles_with(initial, Effect.BLOCKS)
    execute(initial, "ALTER TABLE trades OWNER TO CURRENT_USER", f'DROP OWNED BY "{role}" CASCADE')
    assert obstacle.startswith(f"trades: {role}, who owns alembic_version, does not own it")


# Scale.


def test_as_many_statements_on_any_number_of_tables(
    initial: str, request: pytest.FixtureRequest
) -> None:
    statements: list[Any] = []
    executed = ("before_cursor_execute", lambda *arguments: statements.append(arguments[2]))
    event.listen(Engine, *executed)
    request.addfinalizer(lambda: event.remove(Engine, *executed))
    make_plan(make_url(initial), INDEXES)
    few = len(statements)
    execute(
        initial,
        "DO $$ BEGIN FOR n IN 1..200 LOOP"
        " EXECUTE format('CREATE TABLE t%s (id integer PRIMARY KEY)', n); END LOOP; END $$",
    )
    make_plan(make_url(initial), INDEXES)
    assert len(statements) == 2 * few
