"""The line ``Old code:`` of revisions that lack it or have the template's."""

import re
import textwrap
from pathlib import Path

from alembic.script import Script, ScriptDirectory

from tools.document import Measured, Texts
from tools.document.locks import NEXT, path
from trading_bot_schema.configuration import alembic_config
from trading_bot_schema.docstrings import OldCode, line

PLACEHOLDER = re.compile(r"^Old code: <.*>\n", re.MULTILINE)


def without_line() -> list[Script]:
    """Return the revisions that lack the line, the oldest first."""
    scripts = ScriptDirectory.from_config(alembic_config()).walk_revisions()
    return [s for s in scripts if (line(s.longdoc, "Old code") or "<").startswith("<")][::-1]


def with_line(source: str, outcome: OldCode) -> str:
    """Return the source of a revision with the line in its docstring."""
    lines = textwrap.fill(f"Old code: {outcome}", 99)
    return NEXT.sub(f"{lines}\n", PLACEHOLDER.sub("", source, count=1), count=1)


def texts(server: str) -> Texts:
    """Run the revisions that lack the line, and return their sources with it."""
    if not (scripts := without_line()):
        return {}
    from verification.history import Databases
    from verification.old_code import of_revision
    from verification.roles import databases_for_roles
    from verification.rows import FilledDatabases

    sources = {}
    with databases_for_roles(server) as roles:
        filled = FilledDatabases(roles.make, Databases(roles.make))
        for script in scripts:
            source = Path(script.path).read_text("utf-8")
            sources[path(script)] = with_line(source, of_revision(script, roles, filled))
    return sources


def outdated() -> list[str]:
    """Return the files of the revisions that lack the line."""
    return [path(script) for script in without_line()]


DOCUMENT = Measured("old-code-lines", texts, outdated)
