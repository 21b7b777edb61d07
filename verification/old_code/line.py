"""The line ``Old code:`` of a revision, and the line to paste if it is wrong."""

import textwrap

from trading_bot_schema import docstrings
from trading_bot_schema.docstrings import DocstringError, OldCode


def declared(docstring: str) -> OldCode | None:
    """Return what the docstring of a revision declares; None: no valid line."""
    try:
        return docstrings.old_code(docstring)
    except DocstringError:
        return None


def text(outcome: OldCode) -> str:
    """Return the line that a docstring should have."""
    return "\n".join(textwrap.wrap(f"Old code: {outcome}", 99))


def advice(docstring: str, outcome: OldCode) -> str:
    """Return a message with the line that the docstring should have."""
    current = docstrings.line(docstring, "Old code")
    instead = f"instead of 'Old code: {current}'" if current else "which it lacks"
    return f"the docstring should have this line, {instead}:\n\n{text(outcome)}\n"
