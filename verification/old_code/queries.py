"""Runs the application's own queries, with values of rows, before a revision and after it.

The statements of :mod:`verification.old_code.statements` find a row by its key. A query that finds
it by another value finds nothing if a revision changes how the value is written.
"""

from collections.abc import Mapping

from alembic.script import Script
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from verification.content import insert_all
from verification.databases import sync_engine
from verification.history import Databases
from verification.project import Project, before
from verification.rows import RowsError


def broken_by(databases: Databases, script: Script) -> frozenset[str]:
    """Return the queries that find another number of rows after a revision.

    Raises:
        RowsError: One finds nothing before, so that its outcome is unknown.
    """
    project = databases.project
    if not project.queries:
        return frozenset()
    url = databases.filled(*before(script))
    insert_all(url, project)
    earlier = _found(project, url)
    if unknown := [name for name, number in earlier.items() if not number]:
        raise RowsError(
            f"The query {', '.join(unknown)} finds no row before the revision. Give it values of a"
            f" row in {project.rows_file}."
        )
    try:
        project.migrate(url, script.revision)
    except (DataError, IntegrityError):
        return frozenset()  # It refuses rows, which is found otherwise.
    later = _found(project, url)
    return frozenset(name for name, number in earlier.items() if later.get(name) != number)


def _found(project: Project, url: str) -> Mapping[str, int]:
    """Return the number of rows that each query finds, if this schema has what it names."""
    found = {}
    with sync_engine(url).connect() as connection:
        for name, statement in project.queries.items():
            try:
                found[name] = len(connection.execute(statement).all())
            except DBAPIError:
                connection.rollback()
    return found
