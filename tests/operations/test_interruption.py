"""An interrupted migration is applied completely or not at all, and can be run again."""

import itertools
import signal
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy.exc import OperationalError, PendingRollbackError

from tests.operations.landed import HISTORY, PROJECT
from tests.support.alembic_cli import AlembicCli
from tests.support.fault_injection import before_change
from tests.support.probe_revisions import (
    CONCURRENT_INDEX,
    DROP_CONCURRENT_INDEX,
    Revisions,
)
from tests.support.waiting import wait_for
from trading_bot_schema.drift.catalogue import snapshot
from verification import Databases, databases
from verification.databases import scalar, version
from verification.project import before

STEPS = [
    (name, *ends)
    for revision in HISTORY
    for name, *ends in (
        ("upgrade", before(revision)[0], revision.revision),
        ("downgrade", revision.revision, before(revision)[0]),
    )
]
"""Every step of the migrations: command, start, target."""

OUTSIDE_TRANSACTIONS = {
    revision.revision
    for revision in HISTORY
    if "autocommit_block" in Path(revision.path).read_text()
}

State = tuple[dict[str, str], str | None]


def state(url: str) -> State:
    """Read all objects and the revision. Before the first one, alembic_version may be missing."""
    objects = snapshot(url).objects.items()
    return {name: text for name, text in objects if "alembic_version" not in name}, version(url)


def is_applied_or_unchanged(url: str, name: str, before: State, expected: State) -> bool:
    """Return whether the migration was applied completely or not at all.

    Outside transactions, a part may be applied, as long as ``alembic_version`` is unchanged.
    """
    revision = (expected if name == "upgrade" else before)[1]
    if revision in OUTSIDE_TRANSACTIONS and version(url) == before[1]:
        return True
    return state(url) in (before, expected)


OTHERS = (
    " FROM pg_stat_activity WHERE datname = current_database()"
    " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
)


def terminate_other_sessions(url: str, excluded: int = 0) -> None:
    """Terminate all other sessions except one."""
    scalar(url, f"SELECT count(pg_terminate_backend(pid)) {OTHERS} AND pid <> %s", excluded)


@pytest.mark.parametrize(("name", "start", "target"), STEPS)
def test_connection_terminated_before_every_statement(
    database_at: Databases, name: str, start: str, target: str
) -> None:
    expected, url = state(database_at.at(target)), database_at.at(start)
    before = state(url)
    for number in itertools.count(1):
        engine = databases.sync_engine(url)
        before_change(number, lambda: terminate_other_sessions(url), engine)
        try:
            getattr(command, name)(PROJECT.config(engine), target)
        except (OperationalError, PendingRollbackError):  # a broken connection, nothing else
            assert is_applied_or_unchanged(url, name, before, expected)
        else:
            break
    assert number > 2
    assert state(url) == expected


@pytest.mark.parametrize("interruption", ["kill", "terminate"])
def test_process_interrupted(
    alembic_cli: AlembicCli, database_at: Databases, interruption: str
) -> None:
    url, (first, *_) = database_at.at("base"), HISTORY
    before, arguments = state(url), ("upgrade", first.revision)
    # At one statement of one revision; the test above covers all.
    migrator = alembic_cli.start(*arguments, database=url, stop_before=4)
    assert migrator.wait_until_stopped()
    if interruption == "kill":
        migrator.kill()
        assert migrator.result().status == -signal.SIGKILL
        wait_for(lambda: scalar(url, f"SELECT count(*) {OTHERS}") == 0)
    else:
        terminate_other_sessions(url)
        migrator.resume()
        message = migrator.result().refusal()
        assert "The connection broke and what was not committed is undone" in message
    assert state(url) == before
    alembic_cli.run(*arguments, database=url).succeeded()
    assert state(url) == state(database_at.at(first.revision))


def test_concurrent_index_build_terminated(
    alembic_cli: AlembicCli, database: str, revisions: Revisions
) -> None:
    revisions.add("probe", CONCURRENT_INDEX, DROP_CONCURRENT_INDEX)
    arguments = ("-c", revisions.ini, "upgrade", "head")
    valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('ix_probe')"
    with databases.transaction(database, "LOCK TABLE trades IN ROW EXCLUSIVE MODE") as writer:
        migrator = alembic_cli.start(*arguments, database=database)
        wait_for(lambda: scalar(database, valid) is False)
        # Not the writer: without it, the build would complete.
        terminate_other_sessions(database, excluded=writer.info.backend_pid)
        assert "The connection broke" in migrator.result().messages[0]
        assert scalar(database, valid) is False
    assert alembic_cli.run(*arguments, database=database).status == 0
    assert scalar(database, valid) is True
    assert version(database) == "probe"
