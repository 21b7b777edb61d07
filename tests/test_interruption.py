"""A migration that is interrupted, anywhere, leaves all or nothing; running it again finishes."""

import itertools
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy.exc import DBAPIError, PendingRollbackError

from tests.support import databases
from tests.support.alembic_cli import Server, before_change, wait_for
from tests.support.databases import version
from tests.support.probe_revisions import HEAD, Revisions
from tests.test_migrator import CONCURRENT_INDEX, DROP_CONCURRENT_INDEX
from trading_bot_schema.drift.catalogue import snapshot

_REVISIONS = list(ScriptDirectory.from_config(databases.alembic_config()).walk_revisions())
STEPS = [
    (command, *ends)
    for revision in reversed(_REVISIONS)
    for command, *ends in (
        ("upgrade", revision.down_revision or "base", revision.revision),
        ("downgrade", revision.revision, revision.down_revision or "base"),
    )
]
"""Every step that the migrations can take: command, from where, to where."""

OUTSIDE_TRANSACTIONS = {
    revision.revision
    for revision in _REVISIONS
    if "autocommit_block" in Path(revision.path).read_text()
}

State = tuple[dict[str, str], str | None]


def state(url: str) -> State:
    """Read all objects and the revision. Before the first one, alembic_version may be missing."""
    objects = snapshot(url).objects.items()
    return {name: text for name, text in objects if "alembic_version" not in name}, version(url)


def interrupted(url: str, name: str, before: State, expected: State) -> bool:
    """Say whether all or nothing was done; of steps outside of transactions, the stamp alone."""
    revision = (expected if name == "upgrade" else before)[1]
    if revision in OUTSIDE_TRANSACTIONS:
        return version(url) in (before[1], expected[1])
    return state(url) in (before, expected)


@pytest.fixture
def at(make_database: Callable[..., str]) -> Callable[[str], str]:
    """Make a database at a revision."""

    def make(revision: str) -> str:
        url = make_database()
        if revision != "base":
            databases.migrate(url, revision)
        return url

    return make


def _wait_for_the_end_of_migrators(url: str) -> None:
    def gone() -> bool:
        with psycopg.connect(url) as connection:
            row = connection.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
            ).fetchone()
        return row == (0,)

    wait_for(gone)


def _terminate_others(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


@pytest.mark.parametrize(("name", "start", "target"), STEPS)
def test_connection_terminated_before_every_statement(
    at: Callable[[str], str], name: str, start: str, target: str
) -> None:
    expected, url = state(at(target)), at(start)
    before = state(url)
    for number in itertools.count(1):
        engine = databases.sync_engine(url)
        before_change(number, lambda: _terminate_others(url), engine)
        config = databases.alembic_config()
        config.attributes["connection"] = engine
        try:
            getattr(command, name)(config, target)
        except (DBAPIError, PendingRollbackError):
            assert interrupted(url, name, before, expected)
        else:
            break
    assert number > 2
    assert state(url) == expected


@pytest.mark.parametrize("interruption", ["kill", "terminate"])
@pytest.mark.parametrize(("name", "start", "target"), STEPS)
def test_process_interrupted(
    alembic_cli: Server,
    at: Callable[[str], str],
    name: str,
    start: str,
    target: str,
    interruption: str,
) -> None:
    expected, url = state(at(target)), at(start)
    before = state(url)
    # Some boundaries only, for the time it takes; the test above has them all.
    for number in (1, 4, 40):
        migrator = alembic_cli.start(name, target, database=url, stop_before=number)
        if not migrator.wait_until_stopped():
            break
        if interruption == "kill":
            migrator.kill()
            assert migrator.result().status == -9
            _wait_for_the_end_of_migrators(url)
        else:
            _terminate_others(url)
            migrator.resume()
            result = migrator.result()
            assert result.status > 0
            (message,) = result.messages
            assert "The connection broke and what was not committed is undone" in message
        assert interrupted(url, name, before, expected)
    else:
        assert alembic_cli.run(name, target, database=url).status == 0
    assert state(url) == expected


@pytest.mark.parametrize("name", ["upgrade", "downgrade"])
def test_concurrent_index_interrupted(
    alembic_cli: Server, database: str, revisions: Revisions, name: str
) -> None:
    revisions.add("probe", CONCURRENT_INDEX, DROP_CONCURRENT_INDEX)
    arguments = ("-c", revisions.ini, name, "probe" if name == "upgrade" else str(HEAD))
    before = state(database)
    assert alembic_cli.run("-c", revisions.ini, "upgrade", "head", database=database).status == 0
    after = state(database)
    if name == "upgrade":
        alembic_cli.run("-c", revisions.ini, "downgrade", "-1", database=database)
        assert state(database) == before
    else:
        before, after = after, before
    for number in itertools.count(1):
        migrator = alembic_cli.start(*arguments, database=database, stop_before=number)
        if not migrator.wait_until_stopped():
            break
        migrator.kill()
        _wait_for_the_end_of_migrators(database)
        # What ran concurrently may be there before the stamp, but never after it.
        assert version(database) == before[1] or state(database) == after
    assert number > 2
    assert state(database) == after


def test_concurrent_index_terminated_half_way(
    alembic_cli: Server, database: str, revisions: Revisions
) -> None:
    revisions.add("probe", CONCURRENT_INDEX, DROP_CONCURRENT_INDEX)
    arguments = ("-c", revisions.ini, "upgrade", "head")
    with psycopg.connect(database) as writer:
        writer.execute("LOCK TABLE trades IN ROW EXCLUSIVE MODE")
        migrator = alembic_cli.start(*arguments, database=database)
        wait_for(lambda: _has_index(database))
        _terminate_others(database)  # the writer as well
        assert "The connection broke" in migrator.result().messages[0]
        with pytest.raises(psycopg.OperationalError):
            writer.execute("SELECT 1")
    assert "INDEX ix_probe (not in the dump)" in snapshot(database).objects  # that is, invalid
    assert alembic_cli.run(*arguments, database=database).status == 0
    assert "INDEX ix_probe (not in the dump)" not in snapshot(database).objects
    assert _has_index(database)
    assert version(database) == "probe"


def _has_index(url: str) -> bool:
    return any("ix_probe" in name for name in snapshot(url).objects)
