"""Migrations run one at a time, with short locks and retries."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from alembic import command
from alembic.util import CommandError
from sqlalchemy import Connection, text

from tests.operations.landed import HEAD, PROJECT
from tests.support.alembic_cli import AlembicCli
from tests.support.probe_revisions import (
    ADD_COLUMN,
    CONCURRENT_INDEX,
    DROP_CONCURRENT_INDEX,
    Revisions,
)
from tests.support.waiting import wait_for
from trading_bot_schema.migrator import Settings
from trading_bot_schema.migrator.lock import LOCK_KEY
from verification import databases
from verification.databases import scalar, version


def test_twenty_upgrades_at_once(
    alembic_cli: AlembicCli, empty_database: str, revisions: Revisions
) -> None:
    # One revision builds an index concurrently, which waits for all transactions that began
    # before it, so a waiting migrator must not be in one.
    revisions.add("probe_1", CONCURRENT_INDEX, DROP_CONCURRENT_INDEX)
    revisions.add("probe_2", ADD_COLUMN.format("users", "probe"))
    arguments = ("-c", revisions.ini, "upgrade", "head")
    commands = [alembic_cli.start(*arguments, database=empty_database) for _ in range(20)]
    results = [command.result() for command in commands]
    assert [result.status for result in results] == [0] * 20
    assert [result.messages for result in results] == [[]] * 20
    assert sum("Running upgrade" in result.stderr for result in results) == 1
    assert version(empty_database) == "probe_2"


def test_different_commands_at_once(alembic_cli: AlembicCli, empty_database: str) -> None:
    commands = [
        alembic_cli.start(*arguments, database=empty_database)
        for arguments in (("upgrade", "head"), ("downgrade", "base"), ("upgrade", "head")) * 3
    ]
    assert [command.result().output for command in commands if command.result().status] == []


@pytest.fixture
def other_migrator(database: str) -> Iterator[psycopg.Connection]:
    lock, options = f"SELECT pg_advisory_lock({LOCK_KEY})", {"application_name": "deploy-7"}
    with databases.transaction(database, lock, autocommit=True, **options) as connection:
        yield connection


@pytest.mark.parametrize(
    "arguments", [("upgrade", "head"), ("downgrade", "-1"), ("stamp", "base")]
)
def test_a_migrator_waits_and_reports_the_other(
    alembic_cli: AlembicCli,
    database: str,
    other_migrator: psycopg.Connection,
    arguments: tuple[str, ...],
) -> None:
    message = alembic_cli.run("-x", "wait_timeout=200ms", *arguments, database=database).refusal()
    assert "Another migrator is running" in message
    assert f"database: pid {other_migrator.info.backend_pid} (user " in message
    assert "application deploy-7" in message
    assert version(database) == HEAD


def test_the_version_is_read_after_the_wait(
    alembic_cli: AlembicCli, database: str, other_migrator: psycopg.Connection
) -> None:
    waiting = alembic_cli.start("downgrade", "-1", database=database)
    wait_for(lambda: "Waiting for another migrator" in waiting.stderr())
    # It is in no transaction while it waits, and so has no snapshot.
    transactions = (
        "SELECT count(xact_start) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = 'alembic'"
    )
    wait_for(lambda: scalar(database, transactions) == 0)
    other_migrator.execute("DELETE FROM alembic_version")
    other_migrator.close()
    message = waiting.result().refusal()
    assert "Relative revision -1 didn't produce 1 migrations" in message


@pytest.mark.parametrize(
    "arguments", [("current",), ("check",), ("history", "-i"), ("upgrade", "head", "--sql")]
)
def test_readers_do_not_wait(
    alembic_cli: AlembicCli,
    database: str,
    other_migrator: psycopg.Connection,
    arguments: tuple[str, ...],
) -> None:
    alembic_cli.run("-x", "wait_timeout=0", *arguments, database=database).succeeded()


def test_readers_change_nothing(alembic_cli: AlembicCli, empty_database: str) -> None:
    for arguments in (("current",), ("check",), ("history", "-i")):
        alembic_cli.run(*arguments, database=empty_database)
    assert scalar(empty_database, "SELECT to_regclass('alembic_version')") is None


def test_a_callers_transaction_keeps_the_lock(alembic_cli: AlembicCli, database: str) -> None:
    with databases.sync_engine(database).connect() as connection:
        connection.execute(text("SELECT 1"))
        command.stamp(PROJECT.config(connection), "base")
        busy = alembic_cli.run("-x", "wait_timeout=0", "upgrade", "head", database=database)
        assert "Another migrator is running" in busy.messages[0]
        connection.rollback()
        assert _lock_is_free(database)
    assert version(database) == HEAD


def test_a_callers_connection_releases_the_lock(connection: Connection, database: str) -> None:
    config = PROJECT.config(connection)
    command.downgrade(config, "-1")
    assert _lock_is_free(database)
    with pytest.raises(CommandError, match="nosuch"):
        command.upgrade(config, "nosuch")
    assert _lock_is_free(database)


def _lock_is_free(url: str) -> Any:
    return scalar(url, "SELECT pg_try_advisory_lock(%s)", LOCK_KEY)


def test_a_reader_blocks_an_upgrade_until_it_ends(
    alembic_cli: AlembicCli, database: str, revisions: Revisions
) -> None:
    revisions.add("probe", ADD_COLUMN.format("users", "probe"))
    arguments = ("-c", revisions.ini, "-x", "lock_timeout=500ms", "-x", "lock_attempts=2")
    query = "SELECT 'secret' FROM users"
    with databases.transaction(database, query, application_name="report") as reader:
        result = alembic_cli.run(*arguments, "upgrade", "head", database=database)
        assert result.status != 0
        retry, error = result.messages
        assert retry.startswith("WARNI [alembic.migrator] In upgrade")
        assert "Trying again in" in retry
        assert "Tried 2 times, for 0.5 s each." in error
        for message in (retry, error):
            assert "canceling statement due to lock timeout" in message
            assert f"pid {reader.info.backend_pid} (user " in message
            assert "application report, " in message
            assert "idle in transaction, " in message
            assert "transaction open for 00:00:0" in message
            assert "last query began " in message
        assert "secret" not in result.output
        assert version(database) == HEAD
        reader.execute("SELECT id FROM users")
    assert alembic_cli.run(*arguments, "upgrade", "head", database=database).status == 0
    assert version(database) == "probe"


def test_a_retry_succeeds_and_counts_relative_steps_once(
    alembic_cli: AlembicCli, database: str, revisions: Revisions
) -> None:
    # Two of three are requested; the second is blocked when the first has been committed.
    revisions.add("probe_1", ADD_COLUMN.format("users", "probe"))
    revisions.add("probe_2", ADD_COLUMN.format("trades", "probe"))
    revisions.add("probe_3", ADD_COLUMN.format("api_keys", "probe"))
    with databases.transaction(database, "SELECT FROM trades"):
        arguments = ("-c", revisions.ini, "-x", "lock_timeout=100ms", "upgrade", "+2")
        upgrade = alembic_cli.start(*arguments, database=database)
        wait_for(lambda: "Trying again" in upgrade.stderr())
        assert version(database) == "probe_1"
    assert upgrade.result().status == 0
    assert version(database) == "probe_2"


def test_a_partially_built_index_is_rebuilt(
    alembic_cli: AlembicCli, database: str, revisions: Revisions
) -> None:
    revisions.add("probe", CONCURRENT_INDEX, DROP_CONCURRENT_INDEX)
    arguments = ("-c", revisions.ini, "-x", "concurrent_lock_timeout=200ms")
    valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'ix_probe'::regclass"
    with databases.transaction(database, "LOCK TABLE trades IN ROW EXCLUSIVE MODE") as writer:
        result = alembic_cli.run(
            *arguments, "-x", "lock_attempts=1", "upgrade", "head", database=database
        )
        assert result.status != 0
        assert f"Blocked by pid {writer.info.backend_pid} " in result.messages[0]
        assert "Tried once, for 0.2 s." in result.messages[0]
        assert "marked invalid; the next run builds it again" in result.messages[0]
        assert scalar(database, valid) is False
        assert version(database) == HEAD
        again = alembic_cli.start(*arguments, "upgrade", "head", database=database)
        wait_for(lambda: "Trying again" in again.stderr())
    assert again.result().status == 0
    assert scalar(database, valid) is True
    assert version(database) == "probe"


def test_a_deadlock_is_retried(
    alembic_cli: AlembicCli, database: str, revisions: Revisions
) -> None:
    lock = 'op.execute("LOCK TABLE {}")\n'
    revisions.add("probe", lock.format("users") + lock.format("trades"))
    # So that the migration is the victim.
    patient = "SET deadlock_timeout = '1h'"
    with databases.transaction(database, patient, "LOCK TABLE trades") as other:
        arguments = ("-c", revisions.ini, "-x", "lock_timeout=1min", "upgrade", "head")
        upgrade = alembic_cli.start(*arguments, database=database)
        waiting = (
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        wait_for(lambda: scalar(database, waiting))
        other.execute("LOCK TABLE users")  # waits for the migration, until it is the victim
        wait_for(lambda: "deadlock detected" in upgrade.stderr())
    assert upgrade.result().status == 0
    assert version(database) == "probe"


def test_statement_timeout(alembic_cli: AlembicCli, database: str, revisions: Revisions) -> None:
    revisions.add("probe", 'op.execute("SELECT pg_sleep(60)")')
    arguments = ("-c", revisions.ini, "upgrade", "head")
    environment = {"MIGRATION_STATEMENT_TIMEOUT": "100ms"}
    message = alembic_cli.run(*arguments, database=database, environment=environment).refusal()
    assert "canceling statement due to statement timeout" in message
    assert "-x statement_timeout=" in message
    assert version(database) == HEAD


def test_settings_apply_to_the_migration_connection(
    alembic_cli: AlembicCli, database: str, revisions: Revisions
) -> None:
    revisions.add(
        "probe",
        "names = ('lock_timeout', 'statement_timeout', 'client_connection_check_interval')\n"
        "for name in names:\n"
        "    print(op.get_bind().scalar(sa.text('SHOW ' + name)))",
    )
    result = alembic_cli.run(
        *("-c", revisions.ini, "-x", "lock_timeout=7s", "upgrade", "head"),
        database=database,
        environment={"MIGRATION_LOCK_TIMEOUT": "8s", "MIGRATION_STATEMENT_TIMEOUT": "9min"},
    )
    assert result.stdout.split() == ["7s", "9min", "5s"], result.output


def test_defaults_of_the_settings() -> None:
    assert Settings.read({}, {}) == Settings(
        lock_timeout=500,
        concurrent_lock_timeout=0,
        lock_attempts=12,
        hold_timeout=10_000,
        statement_timeout=0,
        wait_timeout=600_000,
    )


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        ({"lock_timeout": "10"}, {}, "-x lock_timeout is '10'"),
        ({"lock_timeout": ""}, {}, "-x lock_timeout is ''"),
        ({"lock_timeout": "-1s"}, {}, "-x lock_timeout is '-1s'"),
        ({"lock_timeout": "99999h"}, {}, "-x lock_timeout is '99999h'"),
        ({"lock_attempts": "0"}, {}, "-x lock_attempts is '0'"),
        ({"lock_timout": "1s"}, {}, "-x lock_timout is not a setting"),
        ({}, {"MIGRATION_WAIT_TIMEOUT": "long"}, "MIGRATION_WAIT_TIMEOUT is 'long'"),
        ({}, {"MIGRATION_LOCK_ATTEMPTS": "x"}, "MIGRATION_LOCK_ATTEMPTS is 'x'"),
    ],
)
def test_bad_settings(
    arguments: dict[str, str], environment: dict[str, str], message: str
) -> None:
    with pytest.raises(CommandError, match=message):
        Settings.read(arguments, environment)


def test_stamp_purge_is_all_or_nothing(alembic_cli: AlembicCli, database: str) -> None:
    result = alembic_cli.run("stamp", "--purge", "nosuch", database=database)
    assert result.status != 0
    assert version(database) == HEAD


def test_ensure_version(alembic_cli: AlembicCli, empty_database: str) -> None:
    assert alembic_cli.run("ensure_version", database=empty_database).status == 0
    assert version(empty_database) is None
