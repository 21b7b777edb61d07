"""Models, migrations and database agree at every revision, online and offline, up and down."""

from collections.abc import Callable

from alembic import command
from alembic.script import Script
from sqlalchemy import Connection

from models.database import make_engine
from trading_bot_schema.drift.catalogue import added, differences, snapshot
from verification import databases, history
from verification.conformance import Conformance
from verification.databases import program
from verification.history import Databases, each_revision, path


def test_models_and_migrations(empty_database: str, conformance: Conformance) -> None:
    # Not a copy of a template: a copy lacks the settings of the database itself.
    databases.migrate(empty_database)
    assert not (report := conformance.drift(empty_database)), report


@each_revision
def test_up_down_up(revision: Script, database_at: Databases) -> None:
    start = history.before(revision)
    url = database_at.at(start)
    # A database that has been migrated has alembic_version.
    command.stamp(databases.alembic_config(databases.sync_engine(url)), start)
    before = snapshot(url)
    databases.migrate(url, revision.revision)
    upgraded = snapshot(url)
    databases.migrate(url, "-1")
    downgraded = snapshot(url)
    databases.migrate(url, revision.revision)
    again = snapshot(url)

    def files_for(_: str) -> str:
        return path(revision)

    # A restored column is the last one.
    dropped = added(upgraded.columns, before.columns)
    sides = ("before", "after upgrade and downgrade")
    assert not (report := differences(before, downgraded, sides, files_for, dropped)), report
    sides = ("upgrade", "upgrade, downgrade, upgrade")
    assert not (report := differences(upgraded, again, sides, files_for, {})), report


@each_revision
def test_online_and_offline(revision: Script, database_at: Databases) -> None:
    before = history.before(revision)
    online, offline = database_at.at(before), database_at.at(before)
    for direction, start, end in (
        (command.upgrade, before, revision.revision),
        (command.downgrade, revision.revision, before),
    ):
        databases.migrate(online, end if direction is command.upgrade else "-1")
        psql(offline, history.offline(direction, f"{start}:{end}"))
        report = differences(
            snapshot(online),
            snapshot(offline),
            ("online", "offline"),
            lambda _: f"{direction.__name__}() in {path(revision)}",  # noqa: B023 - used here
            {},
        )
        assert not report, report


def test_offline_in_one_go(make_database: Callable[..., str], conformance: Conformance) -> None:
    url = make_database()
    psql(url, history.offline(command.upgrade, "head"))
    assert not (report := conformance.drift(url)), report
    psql(url, history.offline(command.downgrade, "head:base"))
    assert set(snapshot(url).columns) == {"TABLE public.alembic_version"}


async def test_through_asyncpg(empty_database: str, conformance: Conformance) -> None:
    def migrate(connection: Connection) -> None:
        command.upgrade(databases.alembic_config(connection), "head")

    engine = make_engine(empty_database)
    async with engine.connect() as connection:
        await connection.run_sync(migrate)
        await connection.commit()
    await engine.dispose()
    assert not (report := conformance.drift(empty_database)), report


def psql(url: str, script: str) -> None:
    """Run a script as an operator would, up to the first error."""
    program("psql", url, "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", script=script)
