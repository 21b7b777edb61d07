"""The line ``Old code:`` of a revision, and the line to paste if it is wrong."""

from trading_bot_schema import docstrings
from trading_bot_schema.docstrings import DocstringError, OldCode
from verification.lines import WrongLine


def declared(docstring: str) -> OldCode | None:
    """Return what the docstring of a revision declares; None: no valid line."""
    try:
        return docstrings.old_code(docstring)
    except DocstringError:
        return None


def advice(outcome: OldCode) -> WrongLine:
    """Return a message with the line that the docstring should have."""
    problem = "The line Old code: is missing, or differs from what happens."
    return WrongLine(problem, "Old code:", str(outcome))
