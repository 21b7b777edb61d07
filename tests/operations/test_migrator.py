"""Migrations run one at a time, with short locks and retries."""

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from alembic import command
from alembic.util import CommandError
from sqlalchemy import Connection, text

from tests.operations.landed import HEAD, PROJECT
from tests.support.alembic_cli import Alembic, AlembicCli
from tests.support.probe_revisions import (
    ADD_COLUMN,
    CONCURRENT_INDEX,
    DROP_CONCURRENT_INDEX,
    Revisions,
)
from tests.support.waiting import wait_for
from trading_bot_schema.migrator.lock import LOCK_KEY
from verification import databases
from verification.databases import scalar, transaction, version

LOCK_IS_FREE = f"SELECT pg_try_advisory_lock({LOCK_KEY})"


def test_ten_upgrades_at_once(alembic: Alembic, empty_database: str, revisions: Revisions) -> None:
    # One revision builds an index concurrently, which waits for all transactions that began
    # before it, so a waiting migrator must not be in one.
    revisions.add("probe_1", CONCURRENT_INDEX, DROP_CONCURRENT_INDEX)
    revisions.add("probe_2", ADD_COLUMN.format("users", "probe"))
    results = [command.result() for command in [alembic(empty_database) for _ in range(10)]]
    assert [(result.status, result.messages) for result in results] == [(0, [])] * 10
    assert sum("Running upgrade" in result.stderr for result in results) == 1
    assert version(empty_database) == "probe_2"


@pytest.mark.parametrize("name", ["upgrade head", "downgrade -1", "stamp base"])
def test_a_migrator_waits_and_reports_the_other(
    alembic: Alembic, database: str, other_migrator: psycopg.Connection, name: str
) -> None:
    alembic(database, name, wait_timeout="200ms").result().refusal(
        "Another migrator is running",
        f"database: pid {other_migrator.info.backend_pid} (user ",
        "application deploy-7",
    )
    assert version(database) == HEAD


def test_the_version_is_read_after_the_wait(
    alembic: Alembic, database: str, other_migrator: psycopg.Connection
) -> None:
    waiting = alembic(database, "downgrade -1").until("Waiting for another migrator")
    # It is in no transaction while it waits, and so has no snapshot.
    transactions = (
        "SELECT count(xact_start) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = 'alembic'"
    )
    wait_for(lambda: scalar(database, transactions) == 0)
    other_migrator.execute("DELETE FROM alembic_version")
    other_migrator.close()
    waiting.result().refusal("Relative revision -1 didn't produce 1 migrations")


@pytest.mark.parametrize("name", ["current", "check", "history -i", "upgrade head --sql"])
def test_readers_do_not_wait(alembic_cli: AlembicCli, todays_database: str, name: str) -> None:
    arguments = ("-x", "wait_timeout=0", *name.split())
    with transaction(todays_database, f"SELECT pg_advisory_lock({LOCK_KEY})"):
        alembic_cli.run(*arguments, database=todays_database).succeeded()


def test_readers_change_nothing(alembic: Alembic, empty_database: str) -> None:
    for name in ("current", "check", "history -i"):
        alembic(empty_database, name).result()
    assert scalar(empty_database, "SELECT to_regclass('alembic_version')") is None


def test_a_callers_transaction_keeps_the_lock(alembic: Alembic, database: str) -> None:
    with databases.sync_engine(database).connect() as connection:
        connection.execute(text("SELECT 1"))
        command.stamp(PROJECT.config(connection), "base")
        alembic(database, wait_timeout=0).result().refusal("Another migrator is running")
        connection.rollback()
        assert scalar(database, LOCK_IS_FREE)
    assert version(database) == HEAD


def test_a_callers_connection_releases_the_lock(connection: Connection, database: str) -> None:
    config = PROJECT.config(connection)
    command.downgrade(config, "-1")
    assert scalar(database, LOCK_IS_FREE)
    with pytest.raises(CommandError, match="nosuch"):
        command.upgrade(config, "nosuch")
    assert scalar(database, LOCK_IS_FREE)


def test_a_reader_blocks_an_upgrade_until_it_ends(
    alembic: Alembic, database: str, revisions: Revisions
) -> None:
    revisions.add("probe", ADD_COLUMN.format("users", "probe"))
    with transaction(database, "SELECT 'secret' FROM users", application_name="report") as reader:
        result = alembic(database, lock_timeout="500ms", lock_attempts=2, log="json").result()
        assert result.status != 0
        records = map(json.loads, result.stderr.splitlines())
        blocked, failed = (record for record in records if record["level"] != "INFO")
        assert {"event": "blocked", "revision": "probe", "attempt": 1}.items() <= blocked.items()
        assert failed["event"] == "failed"
        session = rf"pid {reader.info.backend_pid} \(user .*application report, "
        assert re.match(session, blocked["blockers"])
        for record, end in (
            (blocked, "Trying again in"),
            (failed, r"Tried 2 times, for 0.5 s each"),
        ):
            assert re.match(
                f"In upgrade.*canceling statement due to lock timeout.*{session}.*"
                f"idle in transaction, .*transaction open for 00:00:0.*last query began .*{end}",
                record["message"],
            )
        assert "secret" not in result.output
        assert version(database) == HEAD
        reader.execute("SELECT id FROM users")
    alembic(database).result().succeeded()
    assert version(database) == "probe"


def test_a_prepared_transaction_blocks_until_it_is_ended_as_the_message_says(
    alembic: Alembic, database: str, revisions: Revisions
) -> None:
    revisions.add("probe", ADD_COLUMN.format("users", "probe"))
    prepare = f"PREPARE TRANSACTION 'it''s {databases.name_of(database)}'"
    databases.execute(database, "BEGIN", "LOCK TABLE users", prepare)
    result = alembic(database, lock_timeout="500ms", lock_attempts=1).result()
    message = result.refusal("Tried once, for 0.5 s.")
    assert "pg_terminate_backend" not in message
    statement = re.search(r"ROLLBACK PREPARED '(?:[^']|'')*'", message)
    assert statement, message
    databases.execute(database, statement[0])
    alembic(database).result().succeeded()


def test_a_retry_succeeds_and_counts_relative_steps_once(
    alembic: Alembic, database: str, revisions: Revisions
) -> None:
    # Two of three are requested; the second is blocked when the first has been committed.
    for number, table in enumerate(("users", "trades", "api_keys"), 1):
        revisions.add(f"probe_{number}", ADD_COLUMN.format(table, "probe"))
    with transaction(database, "SELECT FROM trades"):
        upgrade = alembic(database, "upgrade +2", lock_timeout="100ms").until("Trying again")
        assert version(database) == "probe_1"
    upgrade.result().succeeded()
    assert version(database) == "probe_2"


def test_a_partially_built_index_is_rebuilt(
    alembic: Alembic, database: str, revisions: Revisions
) -> None:
    revisions.add("probe", CONCURRENT_INDEX, DROP_CONCURRENT_INDEX)
    valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'ix_probe'::regclass"
    timeout = {"concurrent_lock_timeout": "200ms"}
    with transaction(database, "LOCK TABLE trades IN ROW EXCLUSIVE MODE") as writer:
        alembic(database, **timeout, lock_attempts=1).result().refusal(
            f"Blocked by pid {writer.info.backend_pid} ",
            "Tried once, for 0.2 s.",
            "marked invalid; the next run builds it again",
        )
        assert scalar(database, valid) is False
        assert version(database) == HEAD
        again = alembic(database, **timeout).until("Trying again")
    again.result().succeeded()
    assert scalar(database, valid) is True
    assert version(database) == "probe"


def test_a_deadlock_is_retried(alembic: Alembic, database: str, revisions: Revisions) -> None:
    lock = 'op.execute("LOCK TABLE {}")\n'
    revisions.add("probe", lock.format("users") + lock.format("trades"))
    # So that the migration is the victim.
    with transaction(database, "SET deadlock_timeout = '1h'", "LOCK TABLE trades") as other:
        upgrade = alembic(database, lock_timeout="1min")
        waiting = (
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        wait_for(lambda: scalar(database, waiting))
        other.execute("LOCK TABLE users")  # waits for the migration, until it is the victim
        upgrade.until("deadlock detected")
    upgrade.result().succeeded()
    assert version(database) == "probe"


def test_a_revision_does_not_change_the_settings_of_the_next(
    alembic: Alembic, database: str, revisions: Revisions
) -> None:
    show = (
        "print(op.get_bind().scalar(sa.text(\"SELECT md5(string_agg(name || setting, ','"
        " ORDER BY name)) || current_setting('role') FROM pg_settings\")))\n"
    )
    change = (
        "op.execute(\"SET lock_timeout = '1h'\")\n"
        'op.execute("SET search_path = pg_catalog, public")\n'
        "with op.get_context().autocommit_block():\n"
        "    op.execute(\"SET statement_timeout = '2h'\")\n"
        "    op.execute(\"SET work_mem = '1MB'\")\n"
        "    op.execute('RESET row_security')\n"
        "    op.execute('SET ROLE pg_monitor')\n"
        "op.execute('RESET ROLE')\n"
        "op.execute('SET LOCAL lock_timeout = 0')\n"
    )
    revisions.add("first", show + change + show)
    revisions.add("second", show)
    first, changed, second = alembic(database).result().succeeded().stdout.split()
    assert first == second != changed


def test_autocommit_block_in_a_function_of_the_revision(
    alembic: Alembic, database: str, revisions: Revisions
) -> None:
    code = (
        "def block():\n    return op.get_context().autocommit_block()\n\n"
        "def build(*statements):\n    with block():\n        [*map(op.execute, statements)]\n"
    )
    build = '"CREATE INDEX CONCURRENTLY ix_probe ON users (created_at)"'
    revisions.add("probe", f"build({build})\nop.execute('SELECT 1 / 0')", code=code)
    alembic(database).result().refusal("What it did outside of a transaction remains")


def test_another_version_table_is_refused(
    alembic: Alembic, database: str, revisions: Revisions
) -> None:
    env = Path(revisions.project.scripts.dir, "env.py")
    env.write_text(env.read_text().replace("**options,", 'version_table="own", **options,'))
    alembic(database).result().refusal("version_table='own'", "rename the table if it exists")


def test_another_role_than_the_owner_is_refused_with_the_role_to_migrate_as(
    alembic: Alembic, empty_database: str, make_role: Callable[..., str]
) -> None:
    # A role whose name needs quoting in SQL and in a shell.
    application, owner = make_role(), make_role(" Owner's")
    databases.execute(
        empty_database,
        f'GRANT ALL ON SCHEMA public TO "{owner}"',
        f'ALTER DEFAULT PRIVILEGES FOR ROLE "{owner}" GRANT SELECT ON TABLES TO {application}',
    )
    alembic(databases.as_role(empty_database, owner)).result().succeeded()
    message = alembic(empty_database, "downgrade -1").result().refusal()
    advice = re.search("`-x (role=.*?)`", message)
    assert advice, message
    ((name, role),) = (word.split("=", 1) for word in shlex.split(advice[1]))
    alembic(empty_database, "downgrade -1", **{name: role}).result().succeeded()


def test_stamp_purge_is_all_or_nothing(alembic: Alembic, database: str) -> None:
    alembic(database, "stamp --purge nosuch").result().refusal()
    assert version(database) == HEAD


def test_ensure_version(alembic: Alembic, empty_database: str) -> None:
    alembic(empty_database, "ensure_version").result().succeeded()
    assert version(empty_database) is None
