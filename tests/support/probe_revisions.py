"""A copy of the migrations to which a test adds revisions."""

import shutil
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from textwrap import indent

from alembic.config import Config
from alembic.script import Script

from tests.support.recipes import add_revisions
from verification import Project
from verification.observed_revision import ObservedRevision

# The fixture ``probe``: adds a revision, and observes it.
Probe = Callable[..., ObservedRevision]

CONCURRENT_INDEX = """
with op.get_context().autocommit_block():
    op.drop_index("ix_probe", if_exists=True, postgresql_concurrently=True)
    op.create_index("ix_probe", "trades", ["symbol"], postgresql_concurrently=True)
"""
DROP_CONCURRENT_INDEX = """
with op.get_context().autocommit_block():
    op.drop_index("ix_probe", if_exists=True, postgresql_concurrently=True)
"""
ADD_COLUMN = 'op.add_column("{}", sa.Column("{}", sa.Integer()))'
DROP_COLUMN = 'op.drop_column("{}", "{}")'

_REVISION = '''"""{docstring}"""

import sqlalchemy as sa

from alembic import op

revision = {revision!r}
down_revision = {down_revision!r}
{code}


{upgrade}


{downgrade}
'''
_UPGRADE, _DOWNGRADE = "def upgrade():\n", "def downgrade():\n"


class Revisions:
    """A copy of ``alembic.ini`` and ``alembic/``."""

    def __init__(self, project: Project, directory: Path) -> None:
        self._directory, self._original = directory, project
        self._last = project.head
        shutil.copy(project.ini, directory)
        # With the compiled files, which need not be compiled again.
        shutil.copytree(project.scripts.dir, directory / Path(project.scripts.dir).name)

    @property
    def project(self) -> Project:
        """The project with the added revisions."""
        return replace(self._original, ini=Path(self.ini))

    @property
    def ini(self) -> str:
        """The argument of ``alembic -c``."""
        return str(self._directory / self._original.ini.name)

    @property
    def config(self) -> Config:
        """The configuration for the functions of ``alembic.command``."""
        return Config(self.ini)

    def add(
        self,
        revision: str,
        upgrade: str,
        downgrade: str = "pass",
        code: str = "",
        docstring: str = "A probe.",
    ) -> None:
        """Add a revision after the last one.

        ``upgrade`` is the function of that name, with any code that it needs, or its body alone;
        ``code`` is inserted before it.
        """
        text = _REVISION.format(
            docstring=docstring,
            revision=revision,
            down_revision=self._last,
            upgrade=upgrade if "def upgrade()" in upgrade else _UPGRADE + indent(upgrade, "    "),
            downgrade=_DOWNGRADE + indent(downgrade, "    "),
            code=code,
        )
        (Path(self.project.scripts.versions) / f"{revision}.py").write_text(text)
        self._last = revision

    def add_recipe(self, sources: Iterable[str]) -> list[Script]:
        """Add the revisions of a recipe after the last one, and return them."""
        names = add_revisions(self.config, sources)
        self._last = names[-1]
        return [self.project.scripts.get_revision(name) for name in names]
