"""The history of the revisions, read once, and databases at each of them."""

from collections.abc import Callable
from functools import cache
from io import StringIO
from pathlib import Path

import pytest
from alembic.script import Script, ScriptDirectory
from sqlalchemy import make_url

from verification import databases
from verification.databases import ROOT

SCRIPTS = ScriptDirectory.from_config(databases.alembic_config())
HISTORY: list[Script] = [*SCRIPTS.walk_revisions()][::-1]
"""All revisions, the oldest first."""
HEAD = HISTORY[-1].revision

each_revision = pytest.mark.parametrize(
    "revision", HISTORY, ids=[revision.revision for revision in HISTORY]
)


def path(revision: Script) -> str:
    """Return the file of a revision, relative to the root of the project."""
    return str(Path(revision.path).relative_to(ROOT))


def before(revision: Script) -> str:
    """Return the previous revision, as Alembic's commands name it."""
    return str(revision.down_revision or "base")


def offline(direction: Callable[..., None], revisions: str) -> str:
    """Return the SQL of ``command.upgrade`` or ``command.downgrade`` with ``--sql``."""
    config = databases.alembic_config()
    config.output_buffer = StringIO()
    direction(config, revisions, sql=True)
    return config.output_buffer.getvalue()


class Databases:
    """Databases at any revision; each revision runs once."""

    def __init__(self, make_database: Callable[..., str]) -> None:
        """Take the fixture that creates databases."""
        self._make = make_database
        self.template = cache(self._migrated)
        """Name of the template database at a revision."""

    def at(self, revision: str) -> str:
        """Return the URL of a new database at a revision, or an empty one at "base"."""
        return self._make(self.template(revision))

    def _migrated(self, revision: str) -> str:
        if revision == "base":
            url = self._make()
        else:
            url = self.at(before(SCRIPTS.get_revision(revision)))
            databases.migrate(url, revision)
        return str(make_url(url).database)
