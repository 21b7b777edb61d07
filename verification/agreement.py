"""Up and down, and online and offline, a revision builds the same schema."""

from collections.abc import Iterator

from alembic import command
from alembic.script import Script

from trading_bot_schema.drift.catalogue import added, differences, snapshot
from verification.databases import program
from verification.history import Databases, offline
from verification.project import before, noting


def is_reversible_and_the_same_offline(databases: Databases, script: Script) -> Iterator[str]:
    """Yield what a downgrade does not restore, or another upgrade or ``--sql`` does differently.

    ``--sql`` prints the SQL of a merge from one of the previous revisions only, so that it is not
    compared.
    """
    project, name, (start, *others) = databases.project, script.revision, before(script)
    earlier, upgraded = databases.schema(start, *others), databases.schema(name)
    url = databases.at(name)
    project.downgrade(url, script)
    downgraded = snapshot(url)
    with noting(f"upgrade() after downgrade() of {project.path(script)}"):
        project.migrate(url, name)
    # A restored column is the last one.
    dropped = added(upgraded.columns, earlier.columns)
    pairs = [
        (("before", "after upgrade and downgrade"), earlier, downgraded, dropped),
        (("upgrade", "upgrade, downgrade, upgrade"), upgraded, snapshot(url), {}),
    ]
    if not others:
        url = databases.at(start)
        create = f"CREATE TABLE {project.version_table}"
        for direction, revisions, online in (
            (command.upgrade, f"{start}:{name}", upgraded),
            (command.downgrade, f"{name}:{start}", downgraded),
        ):
            sql = offline(project, direction, revisions)
            # The script of roles may have created it.
            sql = sql.replace(create, create.replace("TABLE", "TABLE IF NOT EXISTS"))
            with noting(f"in psql, the SQL of {direction.__name__} {revisions} --sql"):
                run_sql(url, sql)
            sides = (f"{direction.__name__}() online", "offline")
            pairs.append((sides, online, snapshot(url), {}))
    for sides, first, second, unordered in pairs:
        if report := differences(first, second, sides, lambda _: project.path(script), unordered):
            yield report


def run_sql(url: str, script: str) -> None:
    """Run a script as an operator would, up to the first error."""
    program("psql", url, "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", script=script)
