"""Databases whose owner and application are the two roles of a project's script."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
from sqlalchemy import URL, make_url

from verification import databases
from verification.databases import program
from verification.history import Databases, name_of
from verification.project import Project

# A copy lacks the privileges on the database itself.
COPY_PRIVILEGE = """
DO $$
BEGIN
    IF has_database_privilege('{owner}', '{template}', 'CREATE') THEN
        GRANT CREATE ON DATABASE "{name}" TO {owner};
    END IF;
END $$
"""


def run_script(script: Path, url: str, owner: str, app: str) -> None:
    """Run a project's script of roles in a database."""
    names = (f"--set=owner={owner}", f"--set=app={app}")
    program("psql", url, "--no-psqlrc", "--quiet", f"--file={script}", *names)


@contextmanager
def databases_for_roles(project: Project, server: str) -> Iterator[Databases]:
    """Yield databases for an owner, which migrates, and an application role, if there is a script.

    The databases and the roles are dropped at the end.
    """
    if project.roles is None:
        with databases.database_factory(server) as make:
            yield Databases(project, make)
        return
    script, prefix = project.roles, f"test_{uuid4().hex[:12]}"
    owner, app = f"{prefix}_owner", f"{prefix}_app"
    with ExitStack() as stack:
        session = stack.enter_context(psycopg.connect(server, autocommit=True))
        drop = f"DROP ROLE IF EXISTS {owner}, {app}"
        if not databases.is_temporary(server):
            stack.callback(session.execute, drop.encode())  # after their databases
        make = stack.enter_context(databases.database_factory(server))

        def make_owned(template: str = "template0") -> str:
            """Return the URL of a database for its owner: a new one, or a copy."""
            url = make(template)
            if template == "template0":
                run_script(script, url, owner, app)
            else:
                copy = {"owner": owner, "template": template, "name": name_of(url)}
                session.execute(COPY_PRIVILEGE.format(**copy).encode())
            return as_role(url, owner)

        yield Databases(project, make_owned, app)


def as_role(url: str | URL, role: str = "none") -> str:
    """Return a URL with which a session sets a role, by default the one that connects."""
    options = {"options": f"-crole={role}"}
    return make_url(url).update_query_dict(options).render_as_string(hide_password=False)
