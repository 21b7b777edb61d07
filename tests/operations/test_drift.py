"""``python -m trading_bot_schema drift`` reports manual changes of a database, and only those.

Every kind of change is tested in ``test_drift_is_reported.py``; this file tests the expected
differences, roles with few privileges, the command line, and that nothing is left behind.
"""

import os
import re
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import URL, make_url

from tests.operations.landed import HISTORY, PROJECT
from tests.support.alembic_cli import Alembic, Result
from tests.support.drift import ReferenceSchema
from tests.trading_bot import ROOT
from trading_bot_schema import embedded
from trading_bot_schema.drift import pg_dump, scratch
from trading_bot_schema.drift.catalogue import Catalogue, snapshot
from trading_bot_schema.drift.expected import IGNORABLE
from verification import Databases, databases
from verification.databases import execute
from verification.roles import run_script

# An extension with a table, as Citus is; its index and its triggers are no members.
WITH_TABLE = """
SET allow_system_table_mods = on;
CREATE EXTENSION hstore;
CREATE TABLE pg_catalog.probe (id integer PRIMARY KEY REFERENCES pg_catalog.probe);
ALTER EXTENSION hstore ADD TABLE pg_catalog.probe
"""
Drift = Callable[..., Result]


@pytest.fixture
def drift(server: str, package_command: Callable[..., Result]) -> Drift:
    """Run the command."""

    def run(url: str, *arguments: str, scratch: str = server) -> Result:
        options = ["--scratch", scratch] if scratch else []
        return package_command("drift", *options, *arguments, database=url)

    return run


# Expected differences.


def test_each_revision(database_at: Databases, drift: Drift) -> None:
    for revision in ("base", *(revision.revision for revision in HISTORY)):
        url = database_at.at(revision)
        drift(url).succeeded("No drift")
    # Downgraded to base, where the empty alembic_version stays.
    PROJECT.migrate(url, "base")
    drift(url).succeeded("No drift")


def test_a_restored_database(
    database: str,
    make_database: Callable[[], str],
    drift: Drift,
    reference_schema: ReferenceSchema,
) -> None:
    restored = make_database()
    dump = databases.program("pg_dump", database, "--no-owner")
    # A server before 17 does not have this setting, but pg_dump for 18 sets it.
    dump = dump.replace("SET transaction_timeout = 0;", "")
    databases.program("psql", restored, "--no-psqlrc", "--set=ON_ERROR_STOP=1", script=dump)
    # The definitions are printed differently; otherwise there is nothing to test.
    assert snapshot(restored).objects != snapshot(database).objects
    drift(restored).succeeded("No drift")
    execute(
        restored,
        "ALTER TABLE trades DROP CONSTRAINT ck_trades_side_known",
        "ALTER TABLE trades ADD CONSTRAINT ck_trades_side_known"
        " CHECK (side IN ('BUY', 'SELL', 'SWAP'))",
        # The definition from before the dump.
        "ALTER TABLE bot_states DROP CONSTRAINT ck_bot_states_status_known",
        "ALTER TABLE bot_states ADD CONSTRAINT ck_bot_states_status_known"
        " CHECK (status IN ('running', 'stopped', 'error'))",
    )
    report = reference_schema.differences(snapshot(restored))
    changed = [line for line in report.splitlines() if line.startswith("  ")]
    assert ["ck_trades_side_known" in line for line in changed] == [True, True], report


def test_a_database_with_the_name_of_a_table(server: str, drift: Drift) -> None:
    # Locked, since the name is fixed and the tests run in parallel.
    lock = "SELECT pg_advisory_lock(hashtext('users'))"
    with (
        databases.transaction(server, lock, autocommit=True),
        databases.database(server, "users") as url,
    ):
        PROJECT.migrate(url)
        drift(url).succeeded("No drift")


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_another_encoding_and_locale(
    server: str, empty_database: str, alembic: Alembic, drift: Drift, encoding: str
) -> None:
    name = databases.name_of(empty_database)
    encoded = f"TEMPLATE template0 ENCODING '{encoding}' LOCALE_PROVIDER libc LOCALE 'C'"
    execute(server, f'DROP DATABASE "{name}"', f'CREATE DATABASE "{name}" {encoded}')
    alembic(empty_database).result().succeeded()
    drift(empty_database).succeeded("No drift")


# Roles.


def test_roles_of_the_documentation(
    make_role: Callable[..., str], database: str, reference_schema: ReferenceSchema
) -> None:
    owner, app = make_role("_Owner"), make_role("_app")
    run_script(ROOT / "docs" / "roles.sql", database, owner, app)
    report = reference_schema.differences(snapshot(database))
    assert report == ""
    for change, shown in {
        f"GRANT TRUNCATE ON trades TO {app}": "TRUNCATE",
        f"REVOKE UPDATE ON bot_states FROM {app}": "bot_states",
        f"GRANT UPDATE ON alembic_version TO {app}": "alembic_version",
        f'REVOKE CREATE ON SCHEMA public FROM "{owner}"': "ACL SCHEMA public",
        f"GRANT CREATE ON SCHEMA public TO {app}": "ACL SCHEMA public",
        f'ALTER TABLE users OWNER TO "{app}"': "OWNER TO",
        f'ALTER DATABASE "{make_url(database).database}" OWNER TO pg_monitor': "OWNER TO",
    }.items():
        before = report
        execute(database, change)
        report = reference_schema.differences(snapshot(database))
        assert report != before, change
        assert shown in report
    assert not reference_schema.differences(snapshot(database), {"privileges"})


def test_a_password_and_a_role_that_may_only_read_all_tables(
    password_server: str, drift: Drift
) -> None:
    with databases.database(password_server, "migrated") as url:
        PROJECT.migrate(url)
        drift(url, scratch=password_server).succeeded("No drift")
        execute(
            url,
            "CREATE ROLE reader LOGIN IN ROLE pg_read_all_data",
            "ALTER TABLE trades ALTER price DROP NOT NULL",
        )
        result = drift(databases.as_role(url, "reader"), scratch=password_server)
        execute(url, "DROP ROLE reader")
    assert (result.status, result.output) == (
        1,
        "TABLE public.trades:\n"
        "  migrations: price numeric(38,18) NOT NULL\n"
        "  database:   price numeric(38,18)\n",
    )


def test_what_a_role_may_not_read_is_unknown(
    make_role: Callable[..., str], database: str, drift: Drift
) -> None:
    role = make_role("_Some")
    execute(
        database,
        "CREATE SCHEMA hidden",
        'CREATE TABLE hidden."A ""table""" ()',
        f'GRANT SELECT ON alembic_version, users, trades, bot_configs TO "{role}"',
        "ALTER TABLE api_keys DROP label",
    )
    result = drift(databases.as_role(database, role), "--ignore=privileges")
    unknown = re.findall("TABLE (.+): unknown", result.output)
    expected = ['hidden.A "table"', "public.api_keys", "public.bot_states"]
    assert (result.status, unknown) == (1, expected)
    # The rest is compared.
    assert re.findall("SCHEMA hidden:|label|users", result.output) == ["SCHEMA hidden:"]


# Ignored differences.


@pytest.mark.parametrize(
    ("ignored", "change"),
    [
        ("extensions", "CREATE EXTENSION hstore"),
        ("extensions", WITH_TABLE),
        ("privileges", "GRANT SELECT ON api_keys TO PUBLIC"),
        ("privileges", "ALTER TABLE users OWNER TO pg_monitor"),
        ("privileges", "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC"),
        ("replication", "CREATE PUBLICATION p FOR TABLE trades"),
        ("storage", "ALTER TABLE bot_states SET (fillfactor = 70, autovacuum_enabled = off)"),
        ("storage", "ALTER TABLE bot_states RESET (fillfactor)"),
        ("storage", "ALTER TABLE api_keys SET (toast.autovacuum_enabled = off)"),
        ("storage", "ALTER INDEX ix_bot_configs_active SET (fillfactor = 70)"),
        ("storage", "ALTER INDEX pk_users SET (fillfactor = 70)"),
    ],
)
def test_ignored(
    ignored: str, change: str, database: str, reference_schema: ReferenceSchema
) -> None:
    execute(database, change)
    live = snapshot(database)
    all_kinds = set(IGNORABLE)
    assert reference_schema.differences(live)
    assert reference_schema.differences(live, all_kinds - {ignored})
    assert not (report := reference_schema.differences(live, {ignored})), report
    execute(database, "CREATE INDEX odd ON trades (symbol) WITH (fillfactor = 70)")
    assert "odd" in reference_schema.differences(snapshot(database), all_kinds)


# The command line.


def test_no_secret_is_printed(database: str, drift: Drift) -> None:
    name = make_url(database).database
    execute(
        database,
        "CREATE SUBSCRIPTION s CONNECTION 'host=elsewhere password=hush1' PUBLICATION p"
        " WITH (connect = false, slot_name = NONE)",
        "CREATE FOREIGN DATA WRAPPER w",
        "CREATE SERVER elsewhere FOREIGN DATA WRAPPER w OPTIONS (host 'h', password 'hush2')",
        "CREATE USER MAPPING FOR PUBLIC SERVER elsewhere OPTIONS (password 'hush''3')",
        f"""ALTER DATABASE "{name}" SET "app.key" = 'hush4'""",
    )
    result = drift(database)
    execute(database, "DROP SUBSCRIPTION s")
    result.ended(1, "SUBSCRIPTION s", "SERVER elsewhere", "USER MAPPING", '"app.key"')
    assert "hush" not in result.output


# Errors.


@pytest.mark.parametrize(
    ("scratch", "message"),
    [
        ("nonsense", "The database URL is malformed"),
        ("postgresql://localhost:1/x?connect_timeout=2", "Cannot connect to the database"),
    ],
)
def test_an_unusable_scratch_server(
    scratch: str, message: str, database: str, drift: Drift
) -> None:
    drift(database, scratch=scratch).ended(2).refusal(message)


@pytest.mark.parametrize(
    ("printed", "message"),
    [
        ("pg_dump (PostgreSQL) 14.9", "that of PostgreSQL 14 is too old"),
        ("", "there is none"),
        (None, ""),  # that of this PostgreSQL
    ],
)
def test_the_pg_dump_on_the_path(
    printed: str | None,
    message: str,
    tmp_path: Path,
    database: str,
    drift: Drift,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if printed:
        (tmp_path / "pg_dump").write_text(f"#!/bin/sh\necho '{printed}'\n")
        (tmp_path / "pg_dump").chmod(0o755)
    monkeypatch.setenv("PATH", str(embedded.programs() if printed is None else tmp_path))
    monkeypatch.setattr(embedded, "WHEEL", "no-such-wheel")
    monkeypatch.setattr(pg_dump, "find", pg_dump.find.__wrapped__)  # which has no cache
    if printed is None:
        drift(database).succeeded("No drift")
    else:
        drift(database).ended(2).refusal(message)


def test_a_locked_table(database: str, drift: Drift, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pg_dump, "LOCK_WAIT", "10ms")
    with databases.transaction(database, "LOCK TABLE trades IN ACCESS EXCLUSIVE MODE"):
        drift(database).ended(2).refusal("A table is locked by another session")


# Nothing is left behind.


@pytest.mark.parametrize(
    ("location", "sent"), [("scratch", signal.SIGINT), ("embedded", signal.SIGTERM)]
)
def test_interrupted(
    location: str,
    sent: signal.Signals,
    server: str,
    database: str,
    drift: Drift,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The signal arrives when the scratch database has been migrated."""
    if location == "embedded":
        if databases.release(server) != embedded.major_version():
            drift(database, scratch="").refusal("--scratch")
            pytest.skip("needs a server of the embedded version")
        drift(database, scratch="").succeeded("No drift")
    monkeypatch.setattr(scratch, "PREFIX", prefix := f"test_{uuid4().hex[:12]}_")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    tmp_path.chmod(0o755)

    def interrupt(url: URL, *_: object, **__: object) -> Catalogue:
        if str(url.database).startswith(prefix):
            os.kill(os.getpid(), sent)
        return snapshot(url)

    monkeypatch.setattr(scratch, "snapshot", interrupt)
    result = drift(database, scratch=server if location == "scratch" else "")
    message = f"ERROR Interrupted by {sent.name}.\n"
    assert (result.status, result.output) == (128 + sent, message)
    left = "SELECT count(*) FROM pg_database WHERE starts_with(datname, %s)"
    assert (databases.scalar(server, left, prefix), list(tmp_path.iterdir())) == (0, [])
