"""Databases whose owner and application are the two roles of a project's script."""

import re
from pathlib import Path

from sqlalchemy import URL, make_url

from trading_bot_schema.embedded import TEMPORARY_PREFIX
from verification.databases import Factory, execute, name_of, program

RECOMMENDED = re.compile(r"--set owner=(\w+) --set app=(\w+)")


def run_script(script: Path, url: str, owner: str, app: str) -> None:
    """Run a project's script of roles in a database."""
    names = (f"--set=owner={owner}", f"--set=app={app}")
    program("psql", url, "--no-psqlrc", "--quiet", f"--file={script}", *names)


class RoleDatabases(Factory):
    """Creates databases for an owner, which migrates, and an application role.

    On a temporary server, the roles have the names that the script's comment recommends, as in
    production: a revision may name them.
    """

    def __init__(self, script: Path, server: str) -> None:
        """Take the script, and a server."""
        super().__init__(server)
        self._script = script
        names = RECOMMENDED.search(script.read_text(encoding="utf-8"))
        self._are_recommended = names is not None and TEMPORARY_PREFIX in server
        self.owner, self.app = f"{self.prefix}_owner", f"{self.prefix}_app"
        if names and self._are_recommended:
            self.owner, self.app = names.groups()

    def __call__(self, template: str = "template0", name: str = "") -> str:
        """Return the URL of a database for its owner: a new one, or a copy."""
        url = super().__call__(template, name)
        if template == "template0":
            # Other processes may create the same roles.
            with self._connection.transaction():
                self._connection.execute("SELECT pg_advisory_xact_lock(1)")
                run_script(self._script, url, self.owner, self.app)
        else:
            # A copy lacks the privileges on the database itself.
            execute(
                self.server,
                f"DO $$ BEGIN IF has_database_privilege('{self.owner}', '{template}', 'CREATE')"
                f' THEN GRANT CREATE ON DATABASE "{name_of(url)}" TO {self.owner}; END IF; END $$',
            )
        return as_role(url, self.owner)

    def close(self) -> None:
        """Drop the databases and the roles, unless other processes use them."""
        super().close()
        if not self._are_recommended:
            execute(self.server, f"DROP ROLE IF EXISTS {self.owner}, {self.app}")


def as_role(url: str | URL, role: str = "none") -> str:
    """Return a URL with which a session sets a role, by default the one that connects."""
    options = {"options": f"-crole={role}"}
    return make_url(url).update_query_dict(options).render_as_string(hide_password=False)
