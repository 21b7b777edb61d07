"""Up and down, and online and offline, a revision builds the same schema."""

from collections.abc import Iterator

from alembic import command
from alembic.script import Script

from trading_bot_schema.drift.catalogue import added, differences, snapshot
from verification.databases import execute, program, sync_engine
from verification.history import Databases, offline
from verification.project import before


def differences_up_and_down(databases: Databases, script: Script) -> Iterator[str]:
    """Yield what a downgrade does not restore, and what another upgrade builds differently."""
    project, path = databases.project, databases.project.path(script)
    url = databases.at(*before(script))
    # A database that has been migrated has alembic_version.
    if script.down_revision is None:
        command.stamp(project.config(sync_engine(url)), "base")
    earlier = snapshot(url)
    project.migrate(url, script.revision)
    upgraded = snapshot(url)
    project.downgrade(url, script)
    downgraded = snapshot(url)
    project.migrate(url, script.revision)
    # A restored column is the last one.
    dropped = added(upgraded.columns, earlier.columns)
    for sides, first, second, unordered in (
        (("before", "after upgrade and downgrade"), earlier, downgraded, dropped),
        (("upgrade", "upgrade, downgrade, upgrade"), upgraded, snapshot(url), {}),
    ):
        if report := differences(first, second, sides, lambda _: path, unordered):
            yield report


def differences_online_and_offline(databases: Databases, script: Script) -> Iterator[str]:
    """Yield where the SQL that ``--sql`` prints builds something else."""
    project, (start, *others) = databases.project, before(script)
    if others:  # Alembic prints the SQL of a merge from one of the revisions only.
        return
    online, printed = databases.at(*before(script)), databases.at(*before(script))
    if start == "base":  # --sql creates Alembic's table, which the script of roles may have done
        for url in (online, printed):
            execute(url, f"DROP TABLE IF EXISTS {project.version_table}")
    for direction, revisions, migrate in (
        (command.upgrade, f"{start}:{script.revision}", project.upgrade),
        (command.downgrade, f"{script.revision}:{start}", project.downgrade),
    ):
        migrate(online, script)
        run_sql(printed, offline(project, direction, revisions))
        where = f"{direction.__name__}() in {project.path(script)}"
        sides = ("online", "offline")
        if report := differences(snapshot(online), snapshot(printed), sides, lambda _: where, {}):  # noqa: B023
            yield report


def run_sql(url: str, script: str) -> None:
    """Run a script as an operator would, up to the first error."""
    program("psql", url, "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", script=script)
