"""Databases whose owner and application are the two roles of a project's script."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from uuid import uuid4

from sqlalchemy import URL, make_url

from verification import databases
from verification.databases import program

MAY_CREATE_SCHEMAS = "SELECT has_database_privilege(%s, %s, 'CREATE')"


def run_script(script: Path, url: str, owner: str, app: str) -> None:
    """Run a project's script of roles in a database."""
    names = (f"--set=owner={owner}", f"--set=app={app}")
    program("psql", url, "--no-psqlrc", "--quiet", f"--file={script}", *names)


class RoleDatabases:
    """Creates databases for an owner, which migrates, and an application role."""

    def __init__(self, script: Path, server: str, stack: ExitStack) -> None:
        """Take the script, and a server, on which the databases exist until the stack ends."""
        self._script, self._server, self._stack = script, server, stack
        self._prefix = f"test_{uuid4().hex[:12]}"
        self._numbers = count(1)
        self.owner, self.app = f"{self._prefix}_owner", f"{self._prefix}_app"

    def make(self, template: str = "template0") -> str:
        """Return the URL of a database for its owner: a new one, or a copy."""
        name = f"{self._prefix}_{next(self._numbers)}"
        url = self._stack.enter_context(databases.database(self._server, name, template))
        if template == "template0":
            run_script(self._script, url, self.owner, self.app)
        elif databases.scalar(self._server, MAY_CREATE_SCHEMAS, self.owner, template):
            # A copy lacks the privileges on the database itself.
            databases.execute(self._server, f'GRANT CREATE ON DATABASE "{name}" TO {self.owner}')
        return as_role(url, self.owner)


@contextmanager
def databases_for_roles(script: Path, server: str) -> Iterator[RoleDatabases]:
    """Yield databases for two roles; drop databases and roles at the end."""
    with ExitStack() as stack:
        roles = RoleDatabases(script, server, stack)
        drop = f"DROP ROLE IF EXISTS {roles.owner}, {roles.app}"
        stack.callback(databases.execute, server, drop)  # after their databases
        yield roles


def as_role(url: str | URL, role: str = "none") -> str:
    """Return a URL with which a session sets a role, by default the one that connects."""
    options = {"options": f"-crole={role}"}
    return make_url(url).update_query_dict(options).render_as_string(hide_password=False)
