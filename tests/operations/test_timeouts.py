"""Lock timeouts depend on the kind of statement, and no transaction blocks a table for long.

Sessions beside the migration hold locks. Only the transaction that holds a lock for too long is
cancelled, and a migration that cannot be watched is ended.
"""

import pkgutil
import re
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import pytest
from alembic.util import CommandError
from sqlalchemy import Connection, TextClause, event, func, select, text

import trading_bot_schema
from tests.operations.landed import HEAD, PROJECT
from tests.support.alembic_cli import Alembic
from tests.support.probe_revisions import ADD_COLUMN, Revisions
from tests.support.waiting import wait_for
from trading_bot_schema.migrator.hold import HeldTooLongError, Hold
from trading_bot_schema.migrator.settings import Settings
from trading_bot_schema.migrator.statements import Timeouts, limits
from trading_bot_schema.url import parse, rendered
from verification import databases
from verification.databases import scalar, transaction, version

OUTSIDE = "with op.get_context().autocommit_block():\n    "
SHOW = "print(op.get_bind().scalar(sa.text('SHOW lock_timeout')))\n"


def test_beside_a_session_that_keeps_its_snapshot(alembic: Alembic, empty_database: str) -> None:
    """As pg_dump: each index build waits for its end, runs once, and is valid."""
    snapshot = ("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", "SELECT FROM pg_class")
    with transaction(empty_database, *snapshot, application_name="pg_dump") as dump:
        upgrade = alembic(empty_database)
        upgrade.until(f"waiting for pid {dump.info.backend_pid} (user ")
    result = upgrade.result().succeeded()
    logged = (
        r"INFO  \[alembic.migrator\] CREATE INDEX CONCURRENTLY ix_.*: waiting for old snapshots; "
    )
    assert re.search(f"{logged}.*application pg_dump", result.stderr)
    assert "\x1b" not in result.stderr
    assert result.messages == []  # so nothing was tried twice
    assert scalar(empty_database, "SELECT count(*) FROM pg_index WHERE NOT indisvalid") == 0
    assert version(empty_database) == HEAD


def test_only_concurrent_statements_wait_longer(
    alembic: Alembic, database: str, revisions: Revisions
) -> None:
    validate = (
        'op.execute("ALTER TABLE trades VALIDATE CONSTRAINT ck_trades_price_non_negative")\n'
    )
    revisions.add("probe", SHOW + OUTSIDE + validate + "    " + SHOW + SHOW)
    with transaction(database, "LOCK TABLE trades IN SHARE UPDATE EXCLUSIVE MODE") as vacuum:
        # Shown after a second, which is ten times lock_timeout.
        upgrade = alembic(database, lock_timeout="100ms").until(
            f"Waiting for pid {vacuum.info.backend_pid} "
        )
    assert upgrade.result().succeeded().stdout.split() == ["100ms"] * 3


def test_an_autovacuum_is_cancelled_after_deadlock_timeout(
    alembic: Alembic, password_server: str, revisions: Revisions
) -> None:
    databases.execute(
        password_server, "ALTER SYSTEM SET autovacuum_naptime = '1s'", "SELECT pg_reload_conf()"
    )
    with databases.database(password_server, "vacuumed") as url:
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
        blocked = alembic(url, lock_attempts=1, lock_timeout="100ms").result()
        blocked.refusal(", autovacuum worker active,")
        assert scalar(url, vacuums) == 1
        # Longer than deadlock_timeout, and than any stall of a loaded machine.
        alembic(url, lock_attempts=1, lock_timeout="60s").result().succeeded()


def test_each_revision_has_its_attempts(
    alembic: Alembic, database: str, revisions: Revisions
) -> None:
    for name in ("probe_1", "probe_2"):
        # A rollback does not reset a sequence.
        databases.execute(database, f"CREATE SEQUENCE {name}")
        revisions.add(
            name,
            f"op.execute(\"DO $$ BEGIN IF nextval('{name}') = 1 THEN"
            ' RAISE lock_not_available; END IF; END $$")',
        )
    assert len(alembic(database, lock_attempts=2).result().succeeded().messages) == 2
    assert version(database) == "probe_2"


HOLD_LOCK = 'op.execute("LOCK TABLE trades IN SHARE MODE")\n'
SLEEP = 'op.execute("SELECT pg_sleep(600)")\n'
FOR_TOO_LONG = "for longer than hold_timeout (0.2 s)"
DO_BLOCK = """op.execute("DO $$ BEGIN LOCK TABLE users; PERFORM pg_sleep(600); END $$")\n"""


@pytest.mark.parametrize(
    ("upgrade", "setting", "says"),
    [
        (SLEEP, "statement_timeout", ["canceling statement due to statement timeout"]),
        (
            *(HOLD_LOCK + SLEEP, "hold_timeout"),
            ["It held SHARE on trades, which blocks writes,", FOR_TOO_LONG, "Nothing is changed."],
        ),
        (
            *('op.execute("LOCK TABLE trades")\n' + SLEEP, "hold_timeout"),
            ["It held ACCESS EXCLUSIVE on trades, which blocks reads and writes,", FOR_TOO_LONG],
        ),
        (
            *(OUTSIDE + DO_BLOCK, "hold_timeout"),
            ["It held ACCESS EXCLUSIVE on users,", "outside of a transaction remains"],
        ),
    ],
)
def test_what_takes_too_long(
    alembic: Alembic,
    database: str,
    revisions: Revisions,
    upgrade: str,
    setting: str,
    says: list[str],
) -> None:
    revisions.add("probe", upgrade)
    alembic(database, **{setting: "200ms"}).result().refusal(
        f"In upgrade {HEAD} -> probe, A probe: {says[0]}", *says, f"-x {setting}="
    )
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


SESSIONS = (
    "FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'alembic'"
)


@pytest.mark.parametrize("after", ["", 'op.execute("SELECT 1")', SLEEP])
def test_a_lock_that_is_held_too_long_between_two_statements(
    alembic: Alembic, database: str, paused: Callable[[str, str], Path], after: str
) -> None:
    proceed = paused(HOLD_LOCK, after)
    upgrade = alembic(database, hold_timeout="50ms")
    cancelled = f"SELECT count(*) {SESSIONS} AND query ~ 'pg_cancel_backend'"
    wait_for(lambda: scalar(database, cancelled))
    proceed.touch()
    upgrade.result().refusal("It held SHARE on trades, which blocks writes,")
    assert version(database) == HEAD


def test_a_watching_connection_that_broke_is_replaced(
    alembic: Alembic, database: str, paused: Callable[[str, str], Path]
) -> None:
    proceed = paused(HOLD_LOCK, SLEEP)
    upgrade = alembic(database, hold_timeout="1s")
    watching = f"{SESSIONS} AND query ~ 'pg_stat_progress_create_index'"
    wait_for(lambda: scalar(database, f"SELECT pg_terminate_backend(pid) {watching}"))
    proceed.touch()
    upgrade.result().refusal("It held SHARE on trades")


def test_statements_that_block_nothing_are_not_limited(
    alembic: Alembic, database: str, paused: Callable[[str, str], Path]
) -> None:
    proceed = paused(
        'op.create_table("probe", sa.Column("id", sa.Integer()))\n'
        'op.execute("LOCK TABLE probe")\n'
        "op.execute(\"UPDATE users SET email = 'other'\")\n"
        'op.execute("LOCK TABLE trades IN SHARE UPDATE EXCLUSIVE MODE")\n',
        "",
    )
    upgrade = alembic(database, hold_timeout="50ms")
    # The watcher still samples when ten times hold_timeout have passed since the last lock.
    sampled = (
        f"SELECT count(*) {SESSIONS} AND query !~ '^LOCK' AND query_start > interval '500 ms'"
        f" + (SELECT max(query_start) {SESSIONS} AND query ~ '^LOCK TABLE trades')"
    )
    wait_for(lambda: scalar(database, sampled))
    proceed.touch()
    upgrade.result().succeeded()
    assert version(database) == "probe"


SETTINGS = Settings(hold_timeout=1)


@pytest.fixture
def hold() -> Hold:
    return Hold(lambda: SETTINGS)


Sessions = tuple[Connection, Connection, Callable[[], str]]


@pytest.fixture
def sessions(database: str, hold: Hold) -> Iterator[Sessions]:
    """The connection that migrates, the one that watches, and a function that samples."""
    engine = databases.sync_engine(database)
    with engine.connect() as migrating, engine.connect() as watching:
        watching.execution_options(isolation_level="AUTOCOMMIT")
        pid = migrating.scalar(select(func.pg_backend_pid())) or 0
        migrating.rollback()

        def expired() -> str:
            time.sleep(0.002)  # longer than hold_timeout
            hold.check(watching, pid)
            return hold.expired

        with limits(migrating, Timeouts(lambda: SETTINGS), hold):
            yield migrating, watching, expired


def test_a_transaction_that_was_to_be_cancelled_is_not_committed(
    hold: Hold, sessions: Sessions
) -> None:
    migrating, watching, expired = sessions
    migrating.execute(text("CREATE TABLE probe ()"))
    migrating.execute(text("LOCK TABLE trades"))
    wait_for(expired)
    with pytest.raises(HeldTooLongError):
        migrating.commit()
    migrating.rollback()
    hold.expired = ""
    migrating.execute(text("SELECT 1"))
    migrating.commit()
    assert watching.scalar(text("SELECT to_regclass('probe')")) is None
    assert expired() == ""


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_a_later_transaction_is_never_cancelled(sessions: Sessions, end: str) -> None:
    migrating, watching, expired = sessions
    migrating.execute(text("LOCK TABLE trades"))
    assert expired() == ""  # seen for the first time

    def proceed(*_: object) -> None:
        # The watcher has read the lock, but not yet cancelled the transaction.
        getattr(migrating, end)()
        migrating.execute(text("LOCK TABLE users"))

    event.listen(watching, "after_cursor_execute", proceed, once=True)
    statements: list[str] = []
    event.listen(watching, "before_cursor_execute", lambda *args: statements.append(args[2]))
    assert expired() == ""
    assert not any("pg_cancel_backend" in statement for statement in statements)
    # The later transaction is still watched, from its start.
    wait_for(lambda: "on users" in expired())


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_the_end_of_a_transaction_is_not_cancelled(
    hold: Hold, sessions: Sessions, end: str
) -> None:
    migrating, _, expired = sessions
    migrating.execute(text("LOCK TABLE trades"))
    assert expired() == ""  # seen for the first time
    # After the listener of limits(), so the transaction still has its lock, but ends.
    event.listen(migrating, end, lambda _: expired())
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


def test_timeouts_are_set_again_after_a_rollback(sessions: Sessions) -> None:
    migrating, *_ = sessions
    for end in (migrating.rollback, migrating.commit, migrating.rollback):
        assert migrating.scalar(text("SHOW lock_timeout")) == "500ms"
        end()


STATEMENTS = {
    f"{info.name}.{name}": str(value)
    for info in pkgutil.walk_packages(trading_bot_schema.__path__, "trading_bot_schema.")
    if not info.name.endswith("__main__")
    for name, value in vars(import_module(info.name)).items()
    if isinstance(value, TextClause)
}


@pytest.mark.parametrize("name", STATEMENTS)
def test_arguments_of_functions_have_a_type(name: str) -> None:
    """Else PostgreSQL guesses: a driver sends small numbers as smallint.

    With Citus, which adds pg_cancel_backend(bigint), it refuses to.
    """
    bare = re.findall(r"\b(?!IN\b|ANY\b|VALUES\b)\w+ ?\((?:[^()]*, *)?:\w+[,)]", STATEMENTS[name])
    assert bare == [], "write CAST(:name AS type)"


BREAK = (
    "CREATE FUNCTION pg_blocking_pids(integer) RETURNS integer[] LANGUAGE plpgsql AS"
    " $$ BEGIN RAISE 'no such luck'; END $$"
)


@pytest.mark.parametrize("hold_timeout", ["10s", "0"])
def test_a_watcher_that_fails(
    alembic: Alembic, database: str, revisions: Revisions, hold_timeout: str
) -> None:
    databases.execute(database, BREAK)
    # Found before PostgreSQL's own function; and the reason is not that the server is busy.
    options = {"options": "-csearch_path=public,pg_catalog", "connect_timeout": "600"}
    revisions.add(
        "probe",
        # Until it is refused, or the watcher has logged that it has failed.
        "import logging, time\n"
        "failed = []\n"
        'logging.getLogger("alembic.migrator").addFilter('
        'lambda record: failed.append(1) or True if "not watched" in record.msg else True)\n'
        "while not failed:\n"
        '    op.execute("SELECT pg_sleep(0.01)")\n'
        'op.execute("SELECT 1")\n',
    )
    url = rendered(parse(database).update_query_dict(options))
    result = alembic(url, hold_timeout=hold_timeout).result()
    assert re.search("The migration is not watched.* no such luck", result.messages[0])
    assert (result.status == 0) == (hold_timeout == "0")
    if result.status:
        assert re.search("no such luck.* Nothing is changed. So the mig", result.messages[1])
        assert databases.version(database) == HEAD


NAMES = ("lock_timeout", "statement_timeout", "client_connection_check_interval")
SHOW_ALL = "".join(SHOW.replace("lock_timeout", name) for name in NAMES)
REVISIONS_OWN = 'timeouts = {"lock_timeout": "7s", "lock_attempts": "3", "hold_timeout": "1min"}'


@pytest.mark.parametrize(
    ("settings", "expected"),
    [({}, ["7s", "8s"]), ({"lock_timeout": "9s", "statement_timeout": "0"}, ["9s", "9s"])],
)
def test_precedence_of_settings(
    alembic: Alembic,
    database: str,
    revisions: Revisions,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, str],
    expected: list[str],
) -> None:
    """``-x``, then the revision, then the environment."""
    monkeypatch.setenv("MIGRATION_LOCK_TIMEOUT", "8s")
    monkeypatch.setenv("MIGRATION_STATEMENT_TIMEOUT", "9min")
    revisions.add("probe_1", SHOW, code=REVISIONS_OWN)
    revisions.add("probe_2", SHOW_ALL)
    shown = alembic(database, **settings).result().succeeded().stdout.split()
    assert shown == [*expected, settings.get("statement_timeout", "9min"), "5s"]


def test_defaults_of_the_settings() -> None:
    assert Settings.read({}, {}) == Settings(
        lock_timeout=500,
        concurrent_lock_timeout=0,
        lock_attempts=12,
        hold_timeout=10_000,
        statement_timeout=0,
        wait_timeout=600_000,
        contract="warn",
        connect_wait=30_000,
        role=None,
        ahead="refuse",
        lose="warn",
        log="text",
    )


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        ({"lock_timeout": "10"}, {}, "-x lock_timeout is '10'"),
        ({"lock_timeout": ""}, {}, "-x lock_timeout is empty"),
        ({"lock_timeout": "-1s"}, {}, "-x lock_timeout is '-1s'"),
        ({"lock_timeout": "99999h"}, {}, "-x lock_timeout is '99999h'"),
        ({"lock_attempts": "0"}, {}, "-x lock_attempts is '0'"),
        ({"lock_timout": "1s"}, {}, "-x lock_timout is not a setting"),
        ({"log": "xml"}, {}, "-x log is 'xml', but should be text or json."),
        ({}, {"MIGRATION_WAIT_TIMEOUT": "long"}, "MIGRATION_WAIT_TIMEOUT is 'long'"),
        ({}, {"MIGRATION_LOCK_ATTEMPTS": "x"}, "MIGRATION_LOCK_ATTEMPTS is 'x'"),
    ],
)
def test_bad_settings(
    arguments: dict[str, str], environment: dict[str, str], message: str
) -> None:
    with pytest.raises(CommandError, match=message):
        Settings.read(arguments, environment)


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
    alembic: Alembic, database: str, revisions: Revisions
) -> None:
    revisions.add("probe_1", "pass")
    revisions.add("probe_2", "pass", code='timeouts = {"lock_timeout": "10"}')
    alembic(database).result().refusal(
        "In upgrade probe_1 -> probe_2, A probe: lock_timeout in timeouts is '10'"
    )
    assert version(database) == HEAD
