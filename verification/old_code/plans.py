"""Compares the plans of hot queries before and after a revision, on tables of realistic size."""

from collections.abc import Mapping

from alembic.script import Script
from sqlalchemy import text
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from verification.databases import sync_engine
from verification.history import Databases
from verification.project import before
from verification.query_plans import QueryPlan, explain, vacuum
from verification.roles import as_role


def slowed_by(databases: Databases, script: Script) -> frozenset[str]:
    """Return the hot queries that read more, or without an index, after a revision.

    Only queries that run on both schemas are compared; none, if the revision does not run with
    these rows.
    """
    if databases.project.workload is None or script.down_revision is None:
        return frozenset()
    template = _template(databases, before(script)[0])
    earlier = databases.once(
        ("plans", template), lambda: _explain(databases, databases.make(template))
    )
    url = databases.make(template)
    try:
        databases.project.migrate(url, script.revision)
    except (DataError, IntegrityError):
        return frozenset()
    # Twice: a replication slot that is being created may keep VACUUM from a page.
    slow = set(earlier)
    for _ in range(2):
        if slow:
            later = _explain(databases, url)
            slow = {name for name in slow & later.keys() if slower(earlier[name], later[name])}
    return frozenset(name.partition(" ")[2].partition(",")[0] for name in slow)


def _template(databases: Databases, revision: str) -> str:
    """Return the name of a database at a revision, filled at the first one."""
    project = databases.project

    def create() -> str:
        script = project.scripts.get_revision(revision)
        if script.down_revision is None:
            assert project.workload is not None
            url = databases.at(revision)
            project.workload.fill(as_role(url))
        else:
            url = databases.make(_template(databases, before(script)[0]))
            project.migrate(url, revision)
        return databases.keep(url)

    return databases.once(("workload", databases.template(revision)), create)


def _explain(databases: Databases, url: str) -> Mapping[str, QueryPlan]:
    """Plan the queries that run on the current schema."""
    assert databases.project.workload is not None
    vacuum(as_role(url))
    plans = {}
    with sync_engine(url).connect() as connection:
        # A table is then scanned sequentially only if no index can be used.
        connection.execute(text("SET enable_seqscan = off"))
        connection.commit()
        for name, statement in databases.project.workload.statements().items():
            try:
                plans[name] = explain(connection, statement)
            except DBAPIError:
                connection.rollback()
    return plans


def slower(before: QueryPlan, after: QueryPlan) -> bool:
    """Return whether a plan scans another table, or reads many more pages, than the earlier."""
    return bool(after.scanned - before.scanned) or after.buffers > 1.5 * before.buffers + 8
