"""Databases whose owner and application are the two roles of a project's script."""

from pathlib import Path

from sqlalchemy import URL, make_url

from verification.databases import Factory, execute, name_of, program


def run_script(script: Path, url: str, owner: str, app: str) -> None:
    """Run a project's script of roles in a database."""
    names = (f"--set=owner={owner}", f"--set=app={app}")
    program("psql", url, "--no-psqlrc", "--quiet", f"--file={script}", *names)


class RoleDatabases(Factory):
    """Creates databases for an owner, which migrates, and an application role."""

    def __init__(self, script: Path, server: str) -> None:
        """Take the script, and a server."""
        super().__init__(server)
        self._script = script
        self.owner, self.app = f"{self.prefix}_owner", f"{self.prefix}_app"

    def __call__(self, template: str = "template0", name: str = "") -> str:
        """Return the URL of a database for its owner: a new one, or a copy."""
        url = super().__call__(template, name)
        if template == "template0":
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
        """Drop the databases and the roles."""
        super().close()
        execute(self.server, f"DROP ROLE IF EXISTS {self.owner}, {self.app}")


def as_role(url: str | URL, role: str = "none") -> str:
    """Return a URL with which a session sets a role, by default the one that connects."""
    options = {"options": f"-crole={role}"}
    return make_url(url).update_query_dict(options).render_as_string(hide_password=False)
