"""The line ``Old code:`` of a revision, and the line to paste if it is wrong."""

import textwrap

from alembic.script import Script

from trading_bot_schema import docstrings
from trading_bot_schema.docstrings import DocstringError, OldCode
from verification.history import path


def declared(revision: Script) -> OldCode | None:
    """Return what the docstring declares; None: no valid line."""
    try:
        return docstrings.old_code(revision.longdoc)
    except DocstringError:
        return None


def advice(revision: Script, outcome: OldCode) -> str:
    """Return a message with the line that the docstring should have."""
    line = "\n".join(textwrap.wrap(f"Old code: {outcome}", 99))
    current = docstrings.line(revision.longdoc, "Old code")
    instead = f"instead of 'Old code: {current}'" if current else "which it lacks"
    return f"{path(revision)}: the docstring should have this line, {instead}:\n\n{line}\n"
