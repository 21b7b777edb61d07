"""Lock timeouts depend on the kind of statement, and no transaction blocks a table for long.

The command line runs beside sessions that hold locks. Only the transaction that holds a lock for
too long is cancelled.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from alembic.util import CommandError
from sqlalchemy import Connection, event, func, select, text

from tests.operations.landed import HEAD, PROJECT
from tests.support.alembic_cli import AlembicCli
from tests.support.probe_revisions import ADD_COLUMN, Revisions
from tests.support.waiting import wait_for
from trading_bot_schema import embedded
from trading_bot_schema.migrator.hold import HeldTooLongError, Hold
from trading_bot_schema.migrator.settings import Settings
from trading_bot_schema.migrator.statements import limits
from trading_bot_schema.migrator.timeouts import Timeouts
from verification import databases
from verification.databases import scalar, version

OUTSIDE = "with op.get_context().autocommit_block():\n    "
SHOW = "print(op.get_bind().scalar(sa.text('SHOW lock_timeout')))\n"
INDEX = 'op.execute("-- x\\nCREATE INDEX CONCURRENTLY IF NOT EXISTS ix_probe ON trades (side)")\n'


def test_beside_a_session_that_keeps_its_snapshot(
    alembic_cli: AlembicCli, empty_database: str
) -> None:
    """As pg_dump: each index build waits for its end, runs once, and is valid."""
    snapshot = ("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", "SELECT FROM pg_class")
    with databases.transaction(empty_database, *snapshot, application_name="pg_dump") as dump:
        upgrade = alembic_cli.start("upgrade", "head", database=empty_database)
        wait_for(lambda: f"waiting for pid {dump.info.backend_pid} (user " in upgrade.stderr())
    result = upgrade.result().succeeded()
    assert "CREATE INDEX CONCURRENTLY ix_" in result.stderr
    assert "waiting for old snapshots" in result.stderr
    assert "application pg_dump" in result.stderr
    assert result.messages == []  # so nothing was tried twice
    assert scalar(empty_database, "SELECT count(*) FROM pg_index WHERE NOT indisvalid") == 0
    assert version(empty_database) == HEAD


def test_only_concurrent_statements_wait_longer(
    alembic_cli: AlembicCli, database: str, revisions: Revisions
) -> None:
    validate = (
        'op.execute("ALTER TABLE trades VALIDATE CONSTRAINT ck_trades_price_non_negative")\n'
    )
    revisions.add("probe", SHOW + OUTSIDE + validate + "    " + SHOW + SHOW)
    arguments = ("-c", revisions.ini, "-x", "lock_timeout=100ms", "upgrade", "head")
    lock = "LOCK TABLE trades IN SHARE UPDATE EXCLUSIVE MODE"
    with databases.transaction(database, lock) as vacuum:
        upgrade = alembic_cli.start(*arguments, database=database)
        # Shown after a second, which is ten times lock_timeout.
        wait_for(lambda: f"Waiting for pid {vacuum.info.backend_pid} " in upgrade.stderr())
    result = upgrade.result().succeeded()
    assert result.stdout.split() == ["100ms"] * 3


def test_an_autovacuum_is_cancelled_after_deadlock_timeout(
    alembic_cli: AlembicCli, revisions: Revisions
) -> None:
    with embedded.temporary({"autovacuum_naptime": "1s", "fsync": "off"}) as server:
        url = server.render_as_string(hide_password=False)
        PROJECT.migrate(url)
        databases.execute(
            url,
            # One page in a tenth of a second.
            "ALTER TABLE users SET (autovacuum_vacuum_insert_threshold = 0,"
            " autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_cost_delay = 100,"
            " autovacuum_vacuum_cost_limit = 1)",
            "INSERT INTO users (email, hashed_password)"
            " SELECT n, repeat('x', 100) FROM generate_series(1, 50000) n",
        )
        vacuums = "SELECT count(*) FROM pg_stat_progress_vacuum WHERE relid = 'users'::regclass"
        wait_for(lambda: scalar(url, vacuums) == 1)
        revisions.add("probe", ADD_COLUMN.format("users", "probe"))
        options = ("-c", revisions.ini, "-x", "lock_attempts=1", "-x")
        short = alembic_cli.run(*options, "lock_timeout=100ms", "upgrade", "head", database=url)
        assert ", autovacuum worker active," in short.messages[0]
        assert scalar(url, vacuums) == 1
        # Longer than deadlock_timeout, and than any stall of a loaded machine.
        alembic_cli.run(*options, "lock_timeout=60s", "upgrade", "head", database=url).succeeded()


def test_other_statements_outside_of_transactions_wait_no_longer(
    alembic_cli: AlembicCli, database: str, revisions: Revisions
) -> None:
    revisions.add("probe", OUTSIDE + 'op.execute("ALTER TABLE trades ADD COLUMN probe integer")')
    arguments = ("-c", revisions.ini, "-x", "lock_timeout=100ms", "-x", "lock_attempts=1")
    with databases.transaction(database, "SELECT FROM trades"):
        result = alembic_cli.run(*arguments, "upgrade", "head", database=database)
    assert "Tried once, for 0.1 s." in result.messages[0]


def test_each_revision_has_its_attempts(
    alembic_cli: AlembicCli, database: str, revisions: Revisions
) -> None:
    for name in ("probe_1", "probe_2"):
        # A rollback does not reset a sequence.
        databases.execute(database, f"CREATE SEQUENCE {name}")
        revisions.add(
            name,
            f"op.execute(\"DO $$ BEGIN IF nextval('{name}') = 1 THEN"
            ' RAISE lock_not_available; END IF; END $$")',
        )
    arguments = ("-c", revisions.ini, "-x", "lock_attempts=2", "upgrade", "head")
    result = alembic_cli.run(*arguments, database=database).succeeded()
    assert len(result.messages) == 2
    assert version(database) == "probe_2"


HOLD_LOCK = 'op.execute("LOCK TABLE trades IN SHARE MODE")\n'
SLEEP = 'op.execute("SELECT pg_sleep(600)")\n'
DO_BLOCK = """op.execute("DO $$ BEGIN LOCK TABLE users; PERFORM pg_sleep(600); END $$")\n"""


@pytest.mark.parametrize(
    ("upgrade", "held", "remains"),
    [
        (HOLD_LOCK + SLEEP, "SHARE on trades, which blocks writes,", "Nothing is changed."),
        (
            'op.execute("LOCK TABLE trades")\n' + SLEEP,
            "ACCESS EXCLUSIVE on trades, which blocks reads and writes,",
            "Nothing is changed.",
        ),
        (
            OUTSIDE + DO_BLOCK,
            "ACCESS EXCLUSIVE on users,",
            "outside of a transaction remains",
        ),
    ],
)
def test_a_lock_that_is_held_for_too_long(
    alembic_cli: AlembicCli,
    database: str,
    revisions: Revisions,
    upgrade: str,
    held: str,
    remains: str,
) -> None:
    revisions.add("probe", upgrade)
    arguments = ("-c", revisions.ini, "-x", "hold_timeout=200ms", "upgrade", "head")
    result = alembic_cli.run(*arguments, database=database)
    assert result.status > 0
    (message,) = result.messages
    assert f"In upgrade {HEAD} -> probe, A probe: It held {held}" in message
    assert "for longer than hold_timeout (0.2 s)" in message
    assert remains in message
    assert "-x hold_timeout=" in message
    assert "Traceback" not in result.output
    assert version(database) == HEAD


@pytest.fixture
def paused(tmp_path: Path, revisions: Revisions) -> Callable[[str, str], Path]:
    """Add a revision that pauses between two parts, until a file exists."""

    def add(before: str, after: str) -> Path:
        path = tmp_path / "proceed"
        pause = f"import time, pathlib\nwhile not pathlib.Path({str(path)!r}).exists():\n"
        revisions.add("probe", before + pause + "    time.sleep(0.01)\n" + after)
        return path

    return add


def _watching(url: str, condition: str) -> bool:
    """Return whether a session of the watcher fulfils a condition."""
    return bool(
        scalar(
            url,
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            f" AND application_name = 'alembic' AND {condition}",
        )
    )


@pytest.mark.parametrize("after", ["", 'op.execute("SELECT 1")', SLEEP])
def test_a_lock_that_is_held_too_long_between_two_statements(
    alembic_cli: AlembicCli,
    database: str,
    revisions: Revisions,
    paused: Callable[[str, str], Path],
    after: str,
) -> None:
    proceed = paused(HOLD_LOCK, after)
    arguments = ("-c", revisions.ini, "-x", "hold_timeout=50ms", "upgrade", "head")
    upgrade = alembic_cli.start(*arguments, database=database)
    wait_for(lambda: _watching(database, "query ~ 'pg_cancel_backend'"))
    proceed.touch()
    (message,) = upgrade.result().messages
    assert "It held SHARE on trades, which blocks writes," in message
    assert version(database) == HEAD


def test_a_watching_connection_that_broke_is_replaced(
    alembic_cli: AlembicCli,
    database: str,
    revisions: Revisions,
    paused: Callable[[str, str], Path],
) -> None:
    proceed = paused(HOLD_LOCK, SLEEP)
    arguments = ("-c", revisions.ini, "-x", "hold_timeout=2s", "upgrade", "head")
    upgrade = alembic_cli.start(*arguments, database=database)
    watching = "query ~ 'pg_stat_progress_create_index'"
    wait_for(lambda: _watching(database, watching))
    scalar(
        database,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        f" WHERE datname = current_database() AND pid <> pg_backend_pid() AND {watching}",
    )
    proceed.touch()
    (message,) = upgrade.result().messages
    assert "It held SHARE on trades" in message


def test_statements_that_block_nothing_are_not_limited(
    alembic_cli: AlembicCli,
    database: str,
    revisions: Revisions,
    paused: Callable[[str, str], Path],
) -> None:
    proceed = paused(
        'op.create_table("probe", sa.Column("id", sa.Integer()))\n'
        'op.execute("LOCK TABLE probe")\n'
        "op.execute(\"UPDATE users SET email = 'other'\")\n"
        'op.execute("LOCK TABLE trades IN SHARE UPDATE EXCLUSIVE MODE")\n',
        "",
    )
    arguments = ("-c", revisions.ini, "-x", "hold_timeout=50ms", "upgrade", "head")
    upgrade = alembic_cli.start(*arguments, database=database)
    # The watcher still samples when ten times hold_timeout have passed since the last lock.
    wait_for(
        lambda: _watching(
            database,
            "query !~ '^LOCK' AND query_start > 0.5 * interval '1 s' + (SELECT"
            " max(query_start) FROM pg_stat_activity WHERE datname = current_database()"
            " AND query ~ '^LOCK TABLE trades' AND application_name = 'alembic')",
        )
    )
    proceed.touch()
    upgrade.result().succeeded()
    assert version(database) == "probe"


SETTINGS = Settings(hold_timeout=1)


@pytest.fixture
def hold() -> Hold:
    return Hold(lambda: SETTINGS)


@pytest.fixture
def migrating(database: str, hold: Hold) -> Iterator[Connection]:
    with (
        databases.sync_engine(database).connect() as connection,
        limits(connection, Timeouts(lambda: SETTINGS), hold),
    ):
        yield connection


@pytest.fixture
def watching(database: str) -> Iterator[Connection]:
    with databases.sync_engine(database).connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        yield connection


def _pid(connection: Connection) -> int:
    pid = connection.scalar(select(func.pg_backend_pid()))
    connection.rollback()
    return pid or 0


def _expire(hold: Hold, watching: Connection, pid: int) -> None:
    def expired() -> str:
        hold.check(watching, pid)
        return hold.expired

    wait_for(expired)


def test_a_transaction_that_was_to_be_cancelled_is_not_committed(
    hold: Hold, migrating: Connection, watching: Connection
) -> None:
    pid = _pid(migrating)
    migrating.execute(text("CREATE TABLE probe ()"))
    migrating.execute(text("LOCK TABLE trades"))
    _expire(hold, watching, pid)
    with pytest.raises(HeldTooLongError):
        migrating.commit()
    migrating.rollback()
    hold.expired = ""
    migrating.execute(text("SELECT 1"))
    migrating.commit()
    assert watching.scalar(text("SELECT to_regclass('probe')")) is None
    hold.check(watching, pid)
    assert hold.expired == ""


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_a_later_transaction_is_never_cancelled(
    hold: Hold, migrating: Connection, watching: Connection, end: str
) -> None:
    pid = _pid(migrating)
    migrating.execute(text("LOCK TABLE trades"))
    hold.check(watching, pid)
    since = time.monotonic()
    wait_for(lambda: time.monotonic() > since + 0.002)

    def proceed(*_: object) -> None:
        # The watcher has read the lock, but not yet cancelled the transaction.
        getattr(migrating, end)()
        migrating.execute(text("LOCK TABLE users"))

    event.listen(watching, "after_cursor_execute", proceed, once=True)
    statements: list[str] = []
    event.listen(watching, "before_cursor_execute", lambda *args: statements.append(args[2]))
    hold.check(watching, pid)
    assert hold.expired == ""
    assert not any("pg_cancel_backend" in statement for statement in statements)
    # The later transaction is still watched, from its start.
    _expire(hold, watching, pid)
    assert "on users" in hold.expired


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_the_end_of_a_transaction_is_not_cancelled(
    hold: Hold, migrating: Connection, watching: Connection, end: str
) -> None:
    pid = _pid(migrating)
    migrating.execute(text("LOCK TABLE trades"))
    hold.check(watching, pid)

    def check(connection: Connection) -> None:
        # After the listener of limits(), so the transaction still has its lock, but ends.
        since = time.monotonic()
        wait_for(lambda: time.monotonic() > since + 0.002)
        hold.check(watching, pid)

    event.listen(migrating, end, check)
    getattr(migrating, end)()
    assert hold.expired == ""


def test_a_single_statement_that_succeeded_is_not_reported(hold: Hold, database: str) -> None:
    def expire(*_: object) -> None:
        # The signal came too late: the statement has been committed.
        hold.expired = "something"

    engine = databases.sync_engine(database)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        event.listen(connection, "after_cursor_execute", expire)
        with limits(connection, Timeouts(lambda: SETTINGS), hold):
            connection.execute(text("UPDATE users SET is_active = true"))
            connection.execute(text("SELECT 1"))


def test_timeouts_are_set_again_after_a_rollback(migrating: Connection) -> None:
    show = text("SHOW lock_timeout")
    assert migrating.scalar(show) == "500ms"
    migrating.rollback()
    assert migrating.scalar(show) == "500ms"
    migrating.commit()
    assert migrating.scalar(show) == "500ms"


REVISIONS_OWN = 'timeouts = {"lock_timeout": "7s", "lock_attempts": "3", "hold_timeout": "1min"}'


@pytest.mark.parametrize(
    ("arguments", "expected"), [((), "7s"), (("-x", "lock_timeout=9s"), "9s")]
)
def test_a_revisions_own_timeouts(
    alembic_cli: AlembicCli,
    database: str,
    revisions: Revisions,
    arguments: tuple[str, ...],
    expected: str,
) -> None:
    revisions.add("probe_1", SHOW, code=REVISIONS_OWN)
    revisions.add("probe_2", SHOW)
    result = alembic_cli.run(
        *("-c", revisions.ini, *arguments, "upgrade", "head"),
        database=database,
        environment={"MIGRATION_LOCK_TIMEOUT": "8s"},
    )
    assert result.stdout.split() == [expected, "8s" if not arguments else expected], result.output


@pytest.mark.parametrize(
    ("timeouts", "message"),
    [
        ({"lock_timeout": "10"}, "lock_timeout in timeouts is '10', but should be a time"),
        ({"hold_timeout": 10}, "hold_timeout in timeouts is '10', but should be a time"),
        ({"lock_attempts": "0"}, "lock_attempts in timeouts is '0', but should be a number"),
        ({"lock_timout": "1s"}, "timeouts is {'lock_timout': '1s'}, but should be a mapping"),
        ({"wait_timeout": "1s"}, "Names are: lock_timeout, concurrent_lock_timeout, lock_attem"),
        ("10s", "timeouts is '10s', but should be a mapping"),
    ],
)
def test_bad_timeouts(timeouts: object, message: str) -> None:
    with pytest.raises(CommandError, match=message):
        Settings().for_revision(timeouts)


def test_bad_timeouts_are_refused_before_anything_runs(
    alembic_cli: AlembicCli, database: str, revisions: Revisions
) -> None:
    revisions.add("probe_1", "pass")
    revisions.add("probe_2", "pass", code='timeouts = {"lock_timeout": "10"}')
    line = alembic_cli.run("-c", revisions.ini, "upgrade", "head", database=database).refusal()
    assert "In upgrade probe_1 -> probe_2, A probe: lock_timeout in timeouts is '10'" in line
    assert version(database) == HEAD
