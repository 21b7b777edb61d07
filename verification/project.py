"""What ties the verification to one project, described in one place."""

import importlib
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from alembic import command
from alembic.config import Config
from alembic.script import Script, ScriptDirectory
from sqlalchemy import Connection, Engine, MetaData
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.sql.base import Executable

from trading_bot_schema.configuration import check_revisions
from verification.databases import sync_engine

Rows = Mapping[str, Sequence[Mapping[str, Any]]]
"""Rows of each table, each table after those that it references."""


class Workload(Protocol):
    """The application's hot queries, on tables of a realistic size."""

    def fill(self, url: str) -> None:
        """Fill the tables of a database at the first revision."""

    def statements(self) -> Mapping[str, Executable]:
        """Return the hot queries, by the name that the line ``Old code: slows:`` uses."""


@dataclass(frozen=True)
class Project:
    """A project whose revisions are verified.

    Attributes:
        root: The directory to which paths in messages are relative.
        ini: ``alembic.ini``.
        rows: Rows written by hand, which revisions must preserve, and which generated rows vary.
        rows_file: Where they are, for messages.
        engine: Returns the application's engine for a URL; passes options on to
            ``create_async_engine``.
        guide: The page with the safe form of each operation, which messages refer to.
        sealed: The file with the hashes of the revisions that have landed.
        roles: Script for psql that creates the roles ``:owner`` and ``:app``, and grants
            privileges. A comment in it recommends their names: ``--set owner=trading_owner --set
            app=trading_app``.
        model_files: The file of each table's model, for messages.
        queries: Queries of the application with values of ``rows``, by the name for ``Old code:
            breaks:``. For those that find a row by the value of a text: a revision may change how
            it is written.
        tests: Quick tests of what a revision needs besides itself, as arguments of pytest.
        lock_timeout: The longest wait for a lock that a revision may set, in milliseconds.
    """

    root: Path
    ini: Path
    metadata: MetaData
    rows: Rows
    rows_file: str
    engine: Callable[..., AsyncEngine]
    guide: Path
    sealed: Path
    roles: Path
    model_files: Mapping[str, str] = field(default_factory=dict)
    workload: Workload | None = None
    queries: Mapping[str, Executable] = field(default_factory=dict)
    tests: Sequence[str] = ()
    version_table: str = "alembic_version"
    lock_timeout: int = 500

    @property
    def guide_name(self) -> str:
        """The guide's path, for messages."""
        return str(self.guide.relative_to(self.root))

    def config(self, connection: Connection | Engine | None = None) -> Config:
        """Return Alembic's configuration, for a connection or engine if one is given."""
        return Config(self.ini, attributes={"connection": connection})

    @cached_property
    def scripts(self) -> ScriptDirectory:
        """The revisions."""
        return check_revisions(ScriptDirectory.from_config(self.config()))

    @cached_property
    def history(self) -> list[Script]:
        """All revisions, the oldest first."""
        return [*self.scripts.walk_revisions()][::-1]

    @property
    def head(self) -> str:
        """The last revision."""
        return self.history[-1].revision

    def path(self, script: Script) -> str:
        """Return the file of a revision, relative to the root of the project."""
        path = Path(script.path)
        return str(path.relative_to(self.root) if path.is_relative_to(self.root) else path.name)

    def migrate(self, database: str | Connection | Engine, revision: str = "head") -> None:
        """Upgrade a database, or downgrade it if it is at a later revision.

        It is a URL, or a connection or engine of psycopg.
        """
        target = sync_engine(database) if isinstance(database, str) else database
        down = revision == "base" or revision.startswith("-")
        run = command.downgrade if down else command.upgrade
        files = {script.revision: self.path(script) for script in self.history}
        with noting(f"{run.__name__}() of {files.get(revision, revision)}"):
            run(self.config(target), revision)

    def downgrade(self, database: str | Connection | Engine, script: Script) -> None:
        """Downgrade a database from a revision to the one before it."""
        target = sync_engine(database) if isinstance(database, str) else database
        with noting(f"downgrade() of {self.path(script)}"):
            command.downgrade(self.config(target), before(script)[0])


@contextmanager
def noting(what: str) -> Iterator[None]:
    """Note on an error what failed, for :func:`verification.guarantees.problems`."""
    try:
        yield
    except Exception as error:
        error.add_note(f"{what} fails")
        raise


def before(script: Script) -> tuple[str, ...]:
    """Return the previous revisions, as commands name them: more than one before a merge."""
    down = script.down_revision or "base"
    return (down,) if isinstance(down, str) else tuple(down)


def load(directory: Path | None = None) -> Project:
    """Return the project that ``pyproject.toml`` names: ``[tool.verification] project = "a.b:C"``.

    Raises:
        ValueError: It names none.
    """
    path = (directory or Path.cwd()) / "pyproject.toml"
    try:
        name = tomllib.loads(path.read_text(encoding="utf-8"))["tool"]["verification"]["project"]
    except (OSError, KeyError) as error:
        raise ValueError(
            f"{path} does not name a project: [tool.verification] project = 'module:NAME'"
        ) from error
    module, _, attribute = name.partition(":")
    project = getattr(importlib.import_module(module), attribute)
    if not isinstance(project, Project):
        raise ValueError(f"{name} in {path} is not a verification.Project")
    return project
