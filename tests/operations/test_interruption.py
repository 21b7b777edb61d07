"""An interrupted migration is applied completely or not at all, and can be run again.

A signal ends it with a one-line error: SIGINT (Ctrl-C), SIGTERM (the end of a container or job) or
SIGHUP (the end of a terminal).
"""

import itertools
import re
import signal
from argparse import Namespace
from pathlib import Path

import psycopg
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy.exc import OperationalError, PendingRollbackError

from tests.operations.landed import HEAD, HISTORY, PROJECT
from tests.support.alembic_cli import Alembic, AlembicCli
from tests.support.fault_injection import before_change
from tests.support.probe_revisions import (
    ADD_COLUMN,
    CONCURRENT_INDEX,
    Revisions,
)
from tests.support.waiting import wait_for
from trading_bot_schema.drift.catalogue import snapshot
from trading_bot_schema.migrator.lock import LOCK_KEY
from trading_bot_schema.signals import end_cleanly
from verification import Databases, databases
from verification.databases import scalar, transaction, version
from verification.project import before

# Every step of the migrations: command, start, target.
STEPS = [
    (name, *ends)
    for revision in HISTORY
    for name, *ends in (
        ("upgrade", before(revision)[0], revision.revision),
        ("downgrade", revision.revision, before(revision)[0]),
    )
]

OUTSIDE_TRANSACTIONS = {
    revision.revision
    for revision in HISTORY
    if "autocommit_block" in Path(revision.path).read_text()
}


def state(url: str) -> tuple[dict[str, str], str | None]:
    """Read all objects and the revision. Before the first one, alembic_version may be missing."""
    objects = snapshot(url).objects.items()
    return {name: text for name, text in objects if "alembic_version" not in name}, version(url)


CATALOGS = (
    "class",
    "attribute",
    "attrdef",
    "constraint",
    "index",
    "description",
    "type",
    "depend",
)
ROWS = " UNION ALL ".join(f"SELECT c::text AS row FROM pg_{name} c" for name in CATALOGS)


def fingerprint(url: str) -> tuple[str, str | None]:
    """Read what a change of the schema would change, in less time than its objects."""
    return scalar(
        url, f"SELECT md5(string_agg(row, '' ORDER BY row)) FROM ({ROWS}) catalog"
    ), version(url)


TERMINATE = (
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
    " WHERE datname = current_database()"
    " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
)


@pytest.mark.parametrize(("name", "start", "target"), STEPS)
def test_connection_terminated_before_a_statement(
    database_at: Databases, name: str, start: str, target: str
) -> None:
    expected, url = state(database_at.at(target)), database_at.at(start)
    before, revision = state(url), target if name == "upgrade" else start
    unchanged = fingerprint(url)
    # The first revision has eighty statements, all in one transaction: every fifth is enough.
    for number in itertools.count(1, 5 if (name, start) == ("upgrade", "base") else 1):
        engine = databases.sync_engine(url)
        before_change(number, lambda: scalar(url, TERMINATE), engine)
        try:
            getattr(command, name)(PROJECT.config(engine), target)
        except (OperationalError, PendingRollbackError):  # a broken connection, nothing else
            # Outside transactions, a part may be applied, as long as the revision is unchanged.
            partial = revision in OUTSIDE_TRANSACTIONS and version(url) == before[1]
            if not partial and fingerprint(url) != unchanged:
                assert state(url) in (before, expected)
        else:
            break
    assert number > 2
    assert state(url) == expected


UNDONE = "What was not committed is undone."
SESSIONS = (
    "SELECT concat(string_agg(concat_ws(' ', state, wait_event, query), E'\\n'))"
    " FROM pg_stat_activity"
    " WHERE datname = current_database() AND application_name = 'alembic'"
)


@pytest.mark.parametrize("killed", [True, False])
def test_between_two_statements(
    alembic_cli: AlembicCli, database_at: Databases, killed: bool
) -> None:
    url, (first, *_) = database_at.at("base"), HISTORY
    before, arguments = state(url), ("upgrade", first.revision)
    # At one statement of one revision; the test above covers all.
    migrator = alembic_cli.start(*arguments, database=url, stop_before=4)
    migrator.wait_until_stopped()
    if killed:
        migrator.send(signal.SIGKILL)
        wait_for(lambda: scalar(url, SESSIONS) == "")
    else:
        scalar(url, TERMINATE)
        migrator.resume()
        migrator.result().refusal("The connection broke and what was not committed is undone")
    assert state(url) == before
    alembic_cli.run(*arguments, database=url).succeeded()
    assert state(url) == state(database_at.at(first.revision))


IN_REVISION = f"In upgrade {HEAD} -> probe, A probe: {UNDONE} "
NO_LOCK = "op.execute('DO $$ BEGIN RAISE lock_not_available; END $$')"


@pytest.mark.parametrize(
    ("number", "other", "statement", "reached", "said"),
    [
        *(
            (number, "SELECT", "op.execute('SELECT pg_sleep(600)')", "PgSleep", IN_REVISION)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        ),
        (
            signal.SIGTERM,
            "LOCK TABLE trades IN ROW EXCLUSIVE MODE",
            CONCURRENT_INDEX,
            "virtualxid CREATE INDEX",
            "built in part, which is marked invalid; the next run builds it again. ",
        ),
        (signal.SIGINT, "SELECT", NO_LOCK, "Trying again", IN_REVISION),
        (
            signal.SIGHUP,
            f"SELECT pg_advisory_lock({LOCK_KEY})",
            "pass",
            "Waiting for another migrator",
            f"Interrupted by SIGHUP. {UNDONE} ",
        ),
    ],
)
def test_a_signal(
    alembic: Alembic,
    database: str,
    revisions: Revisions,
    number: signal.Signals,
    other: str,
    statement: str,
    reached: str,
    said: str,
) -> None:
    in_transaction = statement != CONCURRENT_INDEX
    first = ADD_COLUMN.format("users", "probe") if in_transaction else ""
    revisions.add("probe", f"{first}\n{statement}")
    before = snapshot(database)
    with transaction(database, other):
        migrator = alembic(database, lock_attempts=1000)
        wait_for(lambda: reached in migrator.stderr() + scalar(database, SESSIONS))
        migrator.send(number)
        result = migrator.result()
        # psycopg waits until the server has cancelled the statement.
        assert not re.search("^active .*(pg_sleep|CREATE)", scalar(database, SESSIONS), re.M)
    assert result.status == 128 + number
    assert "Traceback" not in result.output
    line = result.messages[-1]
    assert line.startswith(f"ERROR [alembic.util.messaging] Interrupted by {number.name}. ")
    assert line.endswith(f"{said}Run it again.")
    assert result.stdout.split() == ["FAILED:", *line.partition("] ")[2].split()]
    wait_for(lambda: scalar(database, SESSIONS) == "")
    assert version(database) == HEAD
    assert (snapshot(database) == before) is in_transaction


def test_what_was_ignored_at_the_start_stays_ignored(
    alembic_cli: AlembicCli, database: str, other_migrator: psycopg.Connection
) -> None:
    """As with ``nohup``, and a shell's background processes."""
    ignored = [signal.SIGHUP, signal.SIGINT]
    migrator = alembic_cli.start("downgrade", "-1", database=database, ignoring=ignored)
    migrator.until("Waiting for another migrator")
    for number in ignored:
        migrator.send(number)
    other_migrator.close()
    migrator.result().succeeded()
    assert version(database) != HEAD


def test_handlers_are_restored_and_those_of_an_application_kept() -> None:
    numbers = (signal.SIGINT, signal.SIGTERM)  # not SIGHUP, which the tests may have to ignore
    before = [*map(signal.getsignal, numbers)]
    with end_cleanly(Config()):  # of an application
        assert [*map(signal.getsignal, numbers)] == before
    config = Config(cmd_opts=Namespace())
    with end_cleanly(config):
        assert [*map(signal.getsignal, numbers)] != before
    assert [*map(signal.getsignal, numbers)] == before
    with pytest.raises(SystemExit, match="143"), end_cleanly(config):
        signal.raise_signal(signal.SIGTERM)
    assert [*map(signal.getsignal, numbers)] == before
