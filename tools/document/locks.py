"""The line ``Locks:`` of revisions that lack it or have the template's, from their effects."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from alembic.script import Script, ScriptDirectory

from tools import ROOT
from tools.document import Measured, Texts
from trading_bot_schema.configuration import alembic_config
from trading_bot_schema.docstrings import line, names

if TYPE_CHECKING:
    from verification.observed_revision import ObservedRevision

PLACEHOLDER = re.compile(r"^Locks: <.*>\n", re.MULTILINE)
NEXT = re.compile(r"^(?=Downgrade: )", re.MULTILINE)


def without_line() -> list[Script]:
    """Return the revisions that lack the line."""
    scripts = ScriptDirectory.from_config(alembic_config()).walk_revisions()
    return [s for s in scripts if (line(s.longdoc, "Locks") or "<").startswith("<")]


def path(script: Script) -> str:
    """Return the file of a revision, relative to the root of the project."""
    return str(Path(script.path).relative_to(ROOT))


def with_lines(source: str, observed: "ObservedRevision") -> str:
    """Return the source of a revision with the lines on locks in its docstring."""
    from verification.lock_lines import check_downgrade, downgrade_line, upgrade_line

    lines = f"{upgrade_line(observed.upgrade)}\n"
    dropped = names(observed.docstring, "Downgrade", "loses")
    if check_downgrade(lines, observed.downgrade, dropped):
        lines += f"{downgrade_line(observed.downgrade, dropped)}\n"
    return NEXT.sub(lines, PLACEHOLDER.sub("", source, count=1), count=1)


def texts(server: str) -> Texts:
    """Run the revisions that lack the line, and return their sources with it."""
    if not (scripts := without_line()):
        return {}
    from verification import databases
    from verification.history import Databases
    from verification.observed_revision import ObservedRevision
    from verification.rows import FilledDatabases

    sources = {}
    with databases.database_factory(server) as make_database:
        filled = FilledDatabases(make_database, Databases(make_database))
        for script in scripts:
            observed = ObservedRevision.of(script, filled)
            sources[path(script)] = with_lines(Path(script.path).read_text("utf-8"), observed)
    return sources


def outdated() -> list[str]:
    """Return the files of the revisions that lack the line."""
    return [path(script) for script in without_line()]


DOCUMENT = Measured("locks", texts, outdated)
