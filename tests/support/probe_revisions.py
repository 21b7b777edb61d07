"""A copy of the migrations to which a test adds revisions of its own."""

import shutil
from pathlib import Path
from textwrap import indent

from alembic.config import Config
from alembic.script import ScriptDirectory

from tests.support.databases import ROOT, alembic_config

HEAD = ScriptDirectory.from_config(alembic_config()).get_current_head()

_REVISION = '''"""{docstring}"""

import sqlalchemy as sa

from alembic import op

revision = {revision!r}
down_revision = {down_revision!r}
{more}


{upgrade}


def downgrade():
{downgrade}
'''


class Revisions:
    """``alembic.ini`` and ``alembic/`` in another place."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._last = HEAD
        shutil.copy(ROOT / "alembic.ini", directory)
        shutil.copytree(
            ROOT / "alembic", directory / "alembic", ignore=shutil.ignore_patterns("__pycache__")
        )

    @property
    def ini(self) -> str:
        """What to give to ``alembic -c``."""
        return str(self._directory / "alembic.ini")

    def config(self) -> Config:
        """Return Alembic's configuration."""
        return Config(self.ini)

    def add(
        self,
        revision: str,
        upgrade: str,
        downgrade: str = "pass",
        docstring: str = "A probe.",
        more: str = "",
    ) -> None:
        """Add a revision after the last one, with these bodies of its two functions."""
        upgrade = f"def upgrade():\n{indent(upgrade, '    ')}"
        self.add_function(revision, upgrade, downgrade, docstring, more)

    def add_function(
        self,
        revision: str,
        upgrade: str,
        downgrade: str = "pass",
        docstring: str = "A probe.",
        more: str = "",
    ) -> None:
        """Add a revision, given the whole function ``upgrade()``, and perhaps what it needs."""
        text = _REVISION.format(
            docstring=docstring,
            revision=revision,
            down_revision=self._last,
            upgrade=upgrade,
            downgrade=indent(downgrade, "    "),
            more=more,
        )
        (self._directory / "alembic" / "versions" / f"{revision}.py").write_text(text)
        self._last = revision
